"""A cohort's way through a bundle: it feeds the queue a little ahead of the workers, rests, goes on, ends.

Runs are made as they are needed, so that resting and cancelling leave nothing behind, the queue stays small, and a
study that joins in the middle is worked on too. What has an answer, or has failed for good, has its run and is left.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from med3d_contract.cohorts import ReprocessingStatus, ReprocessingView
from med3d_contract.results import TERMINAL, Priority, Refusal, RunStatus
from med3d_service.cohorts.tables import CohortMemberRow, CohortRow, ReprocessingRow
from med3d_service.problems import ServiceError
from med3d_service.runs.endings import WAITING
from med3d_service.runs.queueing.enqueuing import NewRun, enqueue_many
from med3d_service.runs.queueing.holding import cancel_waiting, hold, release
from med3d_service.runs.reuse import prepared_for
from med3d_service.runs.starting import start_run
from med3d_service.runs.transitions import refuse_study
from med3d_service.runs.views import bundle_ref, moment
from med3d_service.storage.copy_states import DECIDED, TO_BE_COPIED, CopyStatus
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow


def begin(
    session: Session, cohort: CohortRow, bundle: BundleRow, *, in_window: bool, retry_faults: bool = False
) -> ReprocessingRow:
    """Begin to work a cohort through. Raises ServiceError("reprocessing_under_way")."""
    row = ReprocessingRow(
        id=str(uuid.uuid4()),
        cohort_id=cohort.id,
        bundle_digest=bundle.digest,
        status=ReprocessingStatus.WAITING if in_window else ReprocessingStatus.RUNNING,
        in_window=in_window,
        retry_faults=retry_faults,
        created_at=now_of(session),
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise ServiceError("reprocessing_under_way") from error
    return row


def under_way(session: Session, cohort_id: str) -> ReprocessingRow | None:
    """Find the reprocessing of a cohort that has not ended."""
    query = select(ReprocessingRow).where(ReprocessingRow.cohort_id == cohort_id, ReprocessingRow.ended_at.is_(None))
    return session.scalars(query.with_for_update()).one_or_none()


def rest(session: Session, row: ReprocessingRow, status: ReprocessingStatus) -> None:
    """Begin nothing more, for a person (paused) or until the window opens (waiting); what is in work is finished."""
    row.status = status
    hold(session, row.id)
    session.flush()


def go_on(session: Session, row: ReprocessingRow) -> None:
    """Work on."""
    row.status = ReprocessingStatus.RUNNING
    release(session, row.id)
    session.flush()


def cancel(session: Session, row: ReprocessingRow) -> None:
    """End it here; what is in work is finished, and answers stay."""
    cancel_waiting(session, row.id)
    _end(session, row, ReprocessingStatus.CANCELLED)


def feed(session: Session, row: ReprocessingRow, ahead: int) -> int:
    """Make runs until ``ahead`` of them wait; how many were made. Ends the reprocessing when nothing is left to do."""
    waiting = select(func.count()).where(RunRow.reprocessing_id == row.id, RunRow.status.in_(WAITING.values()))
    room = ahead - session.execute(waiting).scalar_one()
    if room <= 0:
        return 0
    bundle = session.get_one(BundleRow, row.bundle_digest)
    new = _members(session, row, RunRow.id.is_(None), room)
    again = _members(session, row, _again(row), room - len(new))
    _start_new(session, row, bundle, new)
    for study in again:
        run = start_run(session, study, bundle, priority=Priority.COHORT, after_fault=True).run
        run.reprocessing_id, run.held = row.id, False
    session.flush()
    if not new and not again and _is_done(session, row):
        _end(session, row, ReprocessingStatus.FINISHED)
    return len(new) + len(again)


def reprocessing_view(session: Session, cohort: CohortRow, row: ReprocessingRow) -> ReprocessingView:
    """Show a reprocessing as it stands."""
    return ReprocessingView(
        reprocessing_id=row.id,
        cohort=cohort.name,
        bundle=bundle_ref(session.get_one(BundleRow, row.bundle_digest)),
        status=ReprocessingStatus(row.status),
        in_window=row.in_window,
        retry_faults=row.retry_faults,
        created_at=moment(row.created_at),
        ended_at=None if row.ended_at is None else moment(row.ended_at),
    )


def _start_new(session: Session, row: ReprocessingRow, bundle: BundleRow, studies: Sequence[StudyRow]) -> None:
    """Settle many at once; a study without a working copy is refused as soon as it has its run."""
    prepared = prepared_for(session, bundle, [study.id for study in studies])
    wanted = [NewRun(str(uuid.uuid4()), study.id, prepared.get(study.id)) for study in studies]
    enqueue_many(session, bundle.digest, Priority.COHORT, wanted, reprocessing_id=row.id)
    for study in studies:
        if study.working_status == CopyStatus.REFUSED and study.refusal is not None:
            refuse_study(session, study.id, Refusal.model_validate(study.refusal))


def _again(row: ReprocessingRow) -> ColumnElement[bool]:
    """Select what is to be made again: cancelled ones, those that another reprocessing holds, and asked-for faults."""
    faults = and_(RunRow.status == RunStatus.FAILED, RunRow.finished_at < row.created_at)
    held_elsewhere = and_(RunRow.held, RunRow.reprocessing_id != row.id)
    return or_(RunRow.status == RunStatus.CANCELLED, held_elsewhere, faults if row.retry_faults else false())


def _members(session: Session, row: ReprocessingRow, run_is: ColumnElement[bool], limit: int) -> list[StudyRow]:
    """Return members with a working copy (or none to come) whose run by the bundle is as said, the oldest first."""
    if limit <= 0:
        return []
    current = and_(
        RunRow.study_id == StudyRow.id,
        RunRow.bundle_digest == row.bundle_digest,
        RunRow.chosen_series == "",
        RunRow.superseded_by.is_(None),
    )
    query = (
        select(StudyRow)
        .join(CohortMemberRow, CohortMemberRow.study_id == StudyRow.id)
        .outerjoin(RunRow, current)
        .where(
            CohortMemberRow.cohort_id == row.cohort_id,
            StudyRow.working_status.in_(DECIDED),
            StudyRow.corrected_by.is_(None),
            run_is,
        )
        .order_by(StudyRow.seq)
        .limit(limit)
    )
    return list(session.scalars(query))


def _is_done(session: Session, row: ReprocessingRow) -> bool:
    member = and_(CohortMemberRow.cohort_id == row.cohort_id, CohortMemberRow.study_id == StudyRow.id)
    copying = exists().where(member, StudyRow.working_status.in_(TO_BE_COPIED))
    at_work = exists().where(
        CohortMemberRow.cohort_id == row.cohort_id,
        CohortMemberRow.study_id == RunRow.study_id,
        RunRow.bundle_digest == row.bundle_digest,
        RunRow.chosen_series == "",
        RunRow.status.in_([status for status in RunStatus if status not in TERMINAL]),
    )
    return not session.execute(select(or_(copying, at_work))).scalar_one()


def _end(session: Session, row: ReprocessingRow, status: ReprocessingStatus) -> None:
    row.status = status
    row.ended_at = now_of(session)
    session.flush()
