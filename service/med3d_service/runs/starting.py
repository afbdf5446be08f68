"""Starting a run of a study: one per bundle and series, however often it is asked for."""

import uuid
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import Priority, Refusal, RunStatus
from med3d_service.problems import ServiceError
from med3d_service.runs.endings import ORIGINAL_DAMAGED
from med3d_service.runs.queueing.enqueuing import enqueue
from med3d_service.runs.reuse import prepared_for
from med3d_service.runs.transitions import raise_priority, refuse_study
from med3d_service.runs.views import priority_of
from med3d_service.storage.copy_states import CopyStatus, move_copy
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow

FAULTS = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
REQUEUED = "requeued"


@dataclass(frozen=True)
class Started:
    """The run that stands for what was asked, and whether it was there before."""

    run: RunRow
    known: bool


def start_run(
    session: Session,
    study: StudyRow,
    bundle: BundleRow,
    *,
    priority: Priority | None,
    chosen_series: str = "",
    after_fault: bool = False,
) -> Started:
    """Find or make the run of ``study`` by ``bundle``; one that waits becomes as urgent as asked.

    With ``after_fault`` a run that ended in a fault is superseded by a new one, whose first event says that it was
    requeued; an answer never is. Raises ServiceError("identity_corrected") for a study that was withdrawn.
    """
    if study.corrected_by is not None:
        raise ServiceError("identity_corrected")
    current = session.scalars(
        select(RunRow).where(
            RunRow.study_id == study.id,
            RunRow.bundle_digest == bundle.digest,
            RunRow.chosen_series == chosen_series,
            RunRow.superseded_by.is_(None),
        )
    ).one_or_none()
    if after_fault:
        look_again(session, study)
    after_fault = after_fault or _is_mended(study, current)
    if current is not None and not (after_fault and current.status in FAULTS):
        if priority is not None and raise_priority(session, current.id, priority):
            session.refresh(current)
        _hurry_copy(study, current)
        return Started(current, known=True)
    wanted = priority or (priority_of(current) if current is not None else Priority.ROUTINE)
    run_id = str(uuid.uuid4())
    if current is not None:
        current.superseded_by = run_id  # first, for only one run may be the current one
        session.flush()
    run = enqueue(
        session,
        study.id,
        bundle.digest,
        run_id=run_id,
        priority=wanted,
        chosen_series=chosen_series,
        prepared=prepared_for(session, bundle, [study.id], chosen_series).get(study.id),
        code=None if current is None else REQUEUED,
    )
    _hurry_copy(study, run)
    if study.working_status == CopyStatus.REFUSED and study.refusal is not None:
        refuse_study(session, study.id, Refusal.model_validate(study.refusal))
        session.refresh(run)
    return Started(run, known=False)


def requeue(session: Session, run: RunRow) -> RunRow:
    """Let a run that ended in a fault be done again, by a new run in its place.

    Raises ServiceError("not_requeueable") for a run that has not ended so, or that another one stands for already.
    """
    if run.status not in FAULTS or run.superseded_by is not None:
        raise ServiceError("not_requeueable")
    study = session.scalars(select(StudyRow).where(StudyRow.id == run.study_id)).one()
    bundle = session.get_one(BundleRow, run.bundle_digest)
    started = start_run(session, study, bundle, priority=None, chosen_series=run.chosen_series, after_fault=True)
    return started.run


def look_again(session: Session, study: StudyRow) -> None:
    """Have the working copy tried once more where damaged originals were in its way."""
    if study.refusal is not None and study.refusal["code"] == ORIGINAL_DAMAGED:
        move_copy(session, study.id, {CopyStatus.REFUSED}, CopyStatus.WAITING, working_tries=0, refusal=None)


def _is_mended(study: StudyRow, current: RunRow | None) -> bool:
    """Say whether ``current`` failed for originals that have been sent again since."""
    failure = None if current is None else current.failure
    return failure is not None and failure["code"] == ORIGINAL_DAMAGED and study.working_status != CopyStatus.REFUSED


def _hurry_copy(study: StudyRow, run: RunRow) -> None:
    study.working_priority = min(study.working_priority, run.priority)
