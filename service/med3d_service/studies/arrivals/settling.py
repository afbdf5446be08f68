"""From a study that has arrived and is quiet to a recorded study with a run, as POST /studies leaves one.

The first time it is stable a study gets its run. While that run waits for a usable T1 (runs.parking), what comes later
joins its study. Once there is an answer, what comes later makes another version, which gets a run only where it changes
which series can be analysed (intake.clock). Where retention has removed what had come by then, the later version holds
what is new and nothing else.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, insert, or_, select
from sqlalchemy.orm import Session

from med3d_contract.identity import study_digest
from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import Priority
from med3d_service.runs.bundles import find_bundle_for_run
from med3d_service.runs.starting import start_run
from med3d_service.runs.superseding import supersede
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import AppraisalRow, ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.copy_states import ANY, CopyStatus, move_copy
from med3d_service.storage.database import Database, db_now, now_of
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import InstanceRow, RunRow, StudyRow, UploadRow
from med3d_service.studies.arrivals.repairing import is_at_fault, judge, refusal_of
from med3d_service.studies.arrivals.states import ArrivalStatus, mark_settled
from med3d_service.studies.correcting import CODE as IDENTITY_CORRECTED
from med3d_service.studies.correcting import (
    corrected_event,
    readmit_study,
    withdraw_others,
    withdraw_study,
)
from med3d_service.studies.original_names import original_key
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail

log = structlog.get_logger()
MOST_IN_A_QUERY = 500
Rows = Sequence[ArrivedInstanceRow]


@dataclass(frozen=True)
class Completion:
    """Where a study has got to; None for what there is not (yet)."""

    arrival_id: str | None
    study_id: str | None
    run_id: str | None


class Settling:
    """Puts together what has arrived."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        vault: IdentifierVault,
        trail: AuditTrail,
        held_open: ColumnElement[bool],
    ) -> None:
        self._settings = settings
        self._database = database
        self._vault = vault
        self._trail = trail
        self._held_open = held_open
        """Says of an arrival's row that more of it is on its way, however quiet it is."""

    def due(self) -> list[str]:
        """Return Ids of the arrivals that are stable now and not yet settled."""
        quiet = (ArrivalRow.last_at < db_now() - self._settings.quiet_s) & ~self._held_open
        stable: ColumnElement[bool] = or_(
            quiet,
            ArrivalRow.whole_at >= ArrivalRow.last_at,
            ArrivalRow.instances >= ArrivalRow.expected,
        )
        with self._database.read() as session:
            query = (
                select(ArrivalRow.id)
                .where(ArrivalRow.status == ArrivalStatus.RECEIVING, stable)
                .order_by(ArrivalRow.last_at)
            )
            return list(session.scalars(query))

    def settle(self, arrival_id: str) -> Completion:
        """Settle one arrival, stable or not; one that is settled is left as it is.

        Raises ServiceError: no_bundle, unknown_bundle; the arrival then goes on waiting.
        """
        with self._database.write() as session:
            arrival = session.get_one(ArrivalRow, arrival_id, with_for_update=True)
            if mark_settled(session, arrival):
                self._settled(session, arrival)
                if arrival.study_id is not None:
                    self._trail.append(session, _received(arrival))
                log.info("arrival_settled", arrival_id=arrival.id, study_id=arrival.study_id, run_id=arrival.run_id)
            return Completion(arrival.id, arrival.study_id, arrival.run_id)

    def _settled(self, session: Session, arrival: ArrivalRow) -> None:
        corrected = judge(session, arrival)
        rows = session.scalars(
            select(ArrivedInstanceRow).where(
                ArrivedInstanceRow.arrival_id == arrival.id,
                ArrivedInstanceRow.rule.is_not(None),
                ArrivedInstanceRow.arrived_at > (arrival.input_removed_at or 0.0),
            )
        ).all()
        if not rows:
            return
        digest = study_digest(row.digest for row in rows)
        current = None if arrival.study_id is None else _study(session, arrival.study_id)
        mended = arrival.fault is None and current is not None and is_at_fault(current)
        if corrected and current is not None and current.digest != digest:
            self._correct(session, arrival, digest, rows)
        elif current is None or mended:
            self._stand_for(session, arrival, digest, rows)
        elif (late := _late_version(session, arrival)) is not None:
            if late.digest != digest:
                self._extended(session, arrival, late, ANY, digest, rows)
        elif current.digest == digest:
            return  # only what is not wanted came
        elif not self._extended(session, arrival, current, {CopyStatus.PARKED}, digest, rows):
            self._add_late(session, arrival, digest, rows)

    def _stand_for(self, session: Session, arrival: ArrivalRow, digest: str, rows: Rows) -> None:
        """Let a study of these instances stand for the arrival, with a run; one at fault before it is superseded."""
        study, before = self._found_or_made(session, arrival, digest, rows), arrival.study_id
        others: Sequence[str] = ()
        run = self._run(session, study, rows)
        if before is not None:
            supersede(session, before, run)
            others = withdraw_others(session, self._vault, before, arrival.patient_index, run)
        arrival.study_id, arrival.late_study_id, arrival.run_id = study.id, None, run.id
        arrival.wait_until = now_of(session) + self._settings.t1_wait_s
        self._tell_of(session, arrival, others, run)

    def _tell_of(self, session: Session, arrival: ArrivalRow, withdrawn: Sequence[str], run: RunRow) -> None:
        """Say which studies the corrected one of the arrival has taken the place of."""
        for study_id in withdrawn:
            self._trail.append(session, corrected_event(session, arrival, study_id))
            log.info(IDENTITY_CORRECTED, former_study_id=study_id, study_id=arrival.study_id, run_id=run.id)

    def _correct(self, session: Session, arrival: ArrivalRow, digest: str, rows: Rows) -> None:
        """Let a study under the new identity stand for the arrival, and withdraw what there was under the old one."""
        before = (arrival.study_id, arrival.late_study_id)
        self._stand_for(session, arrival, digest, rows)
        run = session.scalars(select(RunRow).where(RunRow.id == arrival.run_id)).one()
        withdrawn = [one for one in before if one is not None and one != arrival.study_id]
        for study_id in withdrawn:
            withdraw_study(session, self._vault, study_id, run)
        self._tell_of(session, arrival, withdrawn, run)

    def _found_or_made(self, session: Session, arrival: ArrivalRow, digest: str, rows: Rows) -> StudyRow:
        """Return the study of just these instances, by whatever way it came."""
        query = select(StudyRow).where(StudyRow.site == arrival.site, StudyRow.digest == digest)
        found = session.scalars(query).one_or_none()
        if found is not None:
            return found
        refusal = refusal_of(session, arrival)
        study = StudyRow(
            id=str(uuid.uuid4()),
            site=arrival.site,
            digest=digest,
            created_at=now_of(session),
            files=len(rows),
            skipped_files=0,
            working_status=CopyStatus.WAITING,  # at fault, too: a courier reads whose the images are, and refuses it
            working_tries=0,
            refusal=None if refusal is None else refusal.model_dump(mode="json"),
        )
        session.add(study)
        session.flush()
        _add_instances(session, study.id, rows)
        return study

    def _extended(
        self,
        session: Session,
        arrival: ArrivalRow,
        study: StudyRow,
        before: Collection[CopyStatus],
        digest: str,
        rows: Rows,
    ) -> bool:
        """Let a study that has no answer yet hold what came since; its working copy is made anew.

        False where its working copy stands at none of ``before``.
        """
        if study.working_status not in before:
            return False
        same = select(StudyRow).where(StudyRow.site == arrival.site, StudyRow.digest == digest)
        other = session.scalars(same).one_or_none()
        if other is not None:  # the same instances also came by another way: that study stands for this one
            arrival.study_id, arrival.late_study_id = other.id, None
            run = self._run(session, other, rows)
            supersede(session, study.id, run)
            arrival.run_id = run.id
            return True
        refusal = refusal_of(session, arrival)
        moved = move_copy(
            session,
            study.id,
            before,
            CopyStatus.WAITING,
            digest=digest,
            files=len(rows),
            working_tries=0,
            refusal=None if refusal is None else refusal.model_dump(mode="json"),
        )
        if not moved:
            return False
        _add_instances(session, study.id, rows)
        appraisal = session.get(AppraisalRow, study.id)
        if appraisal is not None:
            appraisal.eligible, appraisal.sent_at, appraisal.tries = None, None, 0
        return True

    def _add_late(self, session: Session, arrival: ArrivalRow, digest: str, rows: Rows) -> None:
        """Make another version, to be looked at by a worker before it gets a run."""
        late = self._found_or_made(session, arrival, digest, rows)
        arrival.late_study_id = late.id
        for study_id in (arrival.study_id, late.id):
            if study_id is None or _study(session, study_id).input_removed_at is not None:
                continue  # there is nothing left to look at
            if session.get(AppraisalRow, study_id) is None:
                session.add(AppraisalRow(study_id=study_id, tries=0))
        session.flush()

    def _run(self, session: Session, study: StudyRow, rows: Rows) -> RunRow:
        """Start the run as the most urgent of the rules wishes."""
        if study.corrected_by is not None:
            readmit_study(session, study)
        most_urgent = min(rows, key=lambda row: (row.priority, row.rule))
        priority = next(name for name, rank in CELERY_PRIORITY.items() if rank == most_urgent.priority)
        return start_run(
            session, study, find_bundle_for_run(session, most_urgent.bundle), priority=Priority(priority)
        ).run


def _received(arrival: ArrivalRow) -> AuditEvent:
    name, _, address = arrival.sender.rpartition("@")
    sender = Actor("peer", name or arrival.source, address=address)
    detail: dict[str, str | int] = {"instances": arrival.instances, "way": arrival.source}
    return AuditEvent(sender, Action.RECEIVE, object_kind="study", object_id=arrival.study_id or "", detail=detail)


def _study(session: Session, study_id: str) -> StudyRow:
    return session.scalars(select(StudyRow).where(StudyRow.id == study_id)).one()


def _late_version(session: Session, arrival: ArrivalRow) -> StudyRow | None:
    """Return the version that waits for its verdict, unless its images are gone."""
    late = None if arrival.late_study_id is None else _study(session, arrival.late_study_id)
    if late is not None and arrival.fault is None and is_at_fault(late):  # it was corrected before it was looked at
        arrival.late_study_id = late = None
    return None if late is None or late.input_removed_at is not None else late


def _add_instances(session: Session, study_id: str, rows: Rows) -> None:
    """Let the study hold ``rows``: what it does not hold yet, in containers that another version may have made."""
    held = set(session.scalars(select(InstanceRow.digest).where(InstanceRow.study_id == study_id)))
    wanted = [row for row in rows if row.digest not in held]
    ids = [row.upload_id for row in wanted]
    stored: set[str] = set()
    for start in range(0, len(ids), MOST_IN_A_QUERY):
        query = select(UploadRow.id).where(UploadRow.id.in_(ids[start : start + MOST_IN_A_QUERY]))
        stored.update(session.scalars(query))
    uploads = [
        {
            "id": row.upload_id,
            "study_id": study_id,
            "key": original_key(row.upload_id),
            "sha256": row.stored_sha256,
            "stored_bytes": row.stored_bytes,
        }
        for row in wanted
        if row.upload_id not in stored
    ]
    instances = [
        {
            "study_id": study_id,
            "digest": row.digest,
            "upload_id": row.upload_id,
            "kind": "dicom",
            "offset_bytes": 0,
            "size_bytes": row.size_bytes,
        }
        for row in wanted
    ]
    session.flush()
    if uploads:
        session.execute(insert(UploadRow), uploads)
    if instances:
        session.execute(insert(InstanceRow), instances)
