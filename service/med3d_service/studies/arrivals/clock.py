"""The stability clock, turned by the scheduler: what is quiet is settled, what came late is looked at, waits end."""

from collections.abc import Sequence

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import Priority, Refusal, RunStatus
from med3d_service.problems import ServiceError
from med3d_service.runs.bundles import find_bundle_for_run, retired_bundles
from med3d_service.runs.parking import unpark_study
from med3d_service.runs.queueing.dispatch import Broker, BrokerAwayError
from med3d_service.runs.starting import start_run
from med3d_service.runs.superseding import supersede
from med3d_service.runs.views import priority_of
from med3d_service.storage.arrival_tables import AppraisalRow, ArrivalRow
from med3d_service.storage.copy_states import LOOKED_AT, CopyStatus
from med3d_service.storage.database import Database, db_now, now_of
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow
from med3d_service.studies.arrivals.journal import INCONSISTENT, SEVERAL_PATIENTS
from med3d_service.studies.arrivals.settling import Settling
from med3d_service.studies.arrivals.states import ArrivalStatus

log = structlog.get_logger()
APPRAISAL_PAUSE_S = 120.0
"""An appraisal is asked for again after so long, if the queue has run dry: then the task was lost."""
APPRAISAL_TRIES = 3
IN_DOUBT = frozenset({INCONSISTENT, SEVERAL_PATIENTS})


class StabilityClock:
    """Each method is one step of the sweep, and safe beside other schedulers."""

    def __init__(self, database: Database, broker: Broker, settling: Settling) -> None:
        self._database = database
        self._broker = broker
        self._settling = settling
        self._held_up: set[str] = set()  # said once each, not every second

    def settle_due(self) -> int:
        """Settle what is stable; how many. One that cannot be (no bundle yet) keeps nobody else from it."""
        settled = 0
        for arrival_id in self._settling.due():
            try:
                self._settling.settle(arrival_id)
            except ServiceError as error:
                if arrival_id not in self._held_up:
                    log.warning("arrival_held_up", arrival_id=arrival_id, code=error.code)
                self._held_up.add(arrival_id)
            else:
                self._held_up.discard(arrival_id)
                settled += 1
        return settled

    def end_waits(self) -> int:
        """Let studies go for which no usable T1 came in time, or none will come; how many."""
        over = or_(ArrivalRow.wait_until < db_now(), ArrivalRow.final_at.is_not(None))
        with self._database.write() as session:
            query = (
                select(StudyRow.id)
                .join(ArrivalRow, ArrivalRow.study_id == StudyRow.id)
                .where(StudyRow.working_status == CopyStatus.PARKED, ArrivalRow.status == ArrivalStatus.SETTLED, over)
            )
            ended = list(session.scalars(query))
            for study_id in ended:
                unpark_study(session, study_id)
                log.info("wait_ended", study_id=study_id)
        return len(ended)

    def ask_for_appraisals(self) -> int:
        """Ask workers which series can be analysed, where that is needed and not known; how many were asked for."""
        with self._database.read() as session:
            asked = _unanswered(session)
        try:
            for study_id, was_sent in asked:
                if was_sent and self._broker.queue_depth(RunStatus.QUEUED, CELERY_PRIORITY[Priority.ROUTINE]):
                    continue
                if self._note_sent(study_id):
                    self._broker.send_appraisal(study_id)
        except BrokerAwayError as error:
            log.warning("broker_away", kind=str(error), waiting=len(asked))
        return len(asked)

    def _note_sent(self, study_id: str) -> bool:
        with self._database.write() as session:
            row = session.get_one(AppraisalRow, study_id)
            row.sent_at = now_of(session)
            row.tries += 1
            return row.tries <= APPRAISAL_TRIES

    def conclude_late(self) -> int:
        """Start superseding runs where late instances changed what can be analysed; how many were started."""
        with self._database.read() as session:
            late = select(ArrivalRow.id).where(
                ArrivalRow.late_study_id.is_not(None), ArrivalRow.status == ArrivalStatus.SETTLED
            )
            ids = list(session.scalars(late))
        return sum(self._conclude(arrival_id) for arrival_id in ids)

    def _conclude(self, arrival_id: str) -> bool:
        with self._database.write() as session:
            arrival = session.get_one(ArrivalRow, arrival_id, with_for_update=True)
            if arrival.late_study_id is None or arrival.study_id is None or arrival.status != ArrivalStatus.SETTLED:
                return False
            late = session.scalars(select(StudyRow).where(StudyRow.id == arrival.late_study_id)).one()
            if not _changes(session, arrival.study_id, late):
                return False
            _start_successor(session, arrival, late)
            log.info("late_instances_supersede", arrival_id=arrival.id, run_id=arrival.run_id)
            return True


def _unanswered(session: Session) -> Sequence[tuple[str, bool]]:
    query = (
        select(AppraisalRow)
        .join(StudyRow, StudyRow.id == AppraisalRow.study_id)
        .where(
            AppraisalRow.eligible.is_(None),
            AppraisalRow.tries <= APPRAISAL_TRIES,
            StudyRow.working_status.in_(LOOKED_AT),
            or_(AppraisalRow.sent_at.is_(None), AppraisalRow.sent_at < db_now() - APPRAISAL_PAUSE_S),
        )
    )
    return [(row.study_id, row.sent_at is not None) for row in session.scalars(query)]


def _changes(session: Session, study_id: str, late: StudyRow) -> bool:
    """Tell whether the late version has another set of series to analyse. False while that is not known."""
    if late.working_status == CopyStatus.REFUSED:
        return late.refusal is not None and Refusal.model_validate(late.refusal).code in IN_DOUBT
    removed = select(StudyRow.input_removed_at).where(StudyRow.id == study_id)
    if session.scalars(removed).one() is not None:
        return _has_any(session.get(AppraisalRow, late.id))
    now, then = session.get(AppraisalRow, late.id), session.get(AppraisalRow, study_id)
    if now is None or then is None:
        return False
    if any(row.eligible is None and row.tries > APPRAISAL_TRIES for row in (now, then)):
        return True  # no worker could say: a run will tell
    return now.eligible is not None and then.eligible is not None and set(now.eligible) != set(then.eligible)


def _has_any(now: AppraisalRow | None) -> bool:
    """Tell whether new images hold something to analyse by themselves, those before being gone."""
    if now is None:
        return False
    return bool(now.eligible) or (now.eligible is None and now.tries > APPRAISAL_TRIES)


def _start_successor(session: Session, arrival: ArrivalRow, late: StudyRow) -> None:
    predecessor = session.scalars(select(RunRow).where(RunRow.id == arrival.run_id)).one()
    bundle = session.get(BundleRow, predecessor.bundle_digest)
    if bundle is None or bundle.digest in retired_bundles(session):
        bundle = find_bundle_for_run(session, None)
    run = start_run(session, late, bundle, priority=priority_of(predecessor)).run
    supersede(session, predecessor.study_id, run)
    arrival.study_id, arrival.late_study_id, arrival.run_id = late.id, None, run.id
    session.flush()
