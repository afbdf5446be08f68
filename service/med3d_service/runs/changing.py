"""What a person asks of several runs at once: to be done again, to be more or less urgent, to be taken back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import Priority, RunStatus
from med3d_service.problems import ServiceError
from med3d_service.runs.endings import IN_WORK
from med3d_service.runs.moves import Move, attempts_of, end_attempts, make_moves
from med3d_service.runs.starting import requeue
from med3d_service.runs.states import AttemptEnding
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Caller
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail

TAKEN_BACK = "cancelled"


class RunChange(StrEnum):
    """What may be asked of runs."""

    REQUEUE = "requeue"
    CANCEL = "cancel"
    STAT = "stat"
    ROUTINE = "routine"


@dataclass(frozen=True)
class ChangedRun:
    """A run that was changed. ``stands``: the id of the run that stands for it now, itself but for one begun anew."""

    run_id: str
    stands: str


@dataclass(frozen=True)
class RunsChanged:
    """What came of it: the runs that were changed, and of each other one why it was left as it is."""

    changed: tuple[ChangedRun, ...]
    left: tuple[tuple[str, ServiceError], ...]


def change_runs(
    session: Session, trail: AuditTrail, caller: Caller, wanted: RunChange, run_ids: Sequence[str]
) -> RunsChanged:
    """Change those of these runs that ``caller`` sees and that can be changed so; each has its entry in the trail.

    A run is left with unknown_run, not_requeueable, run_over or as_asked. The same once more leaves them all.
    """
    asked = list(dict.fromkeys(run_ids))
    query = (
        select(RunRow)
        .join(StudyRow, StudyRow.id == RunRow.study_id)
        .where(RunRow.id.in_(asked), caller.sees(StudyRow.site))
        .order_by(RunRow.seq)  # all who change several lock them in one order
        .with_for_update(of=RunRow)
    )
    seen = {run.id: run for run in session.scalars(query)}
    changed, left = [], []
    for run_id in asked:
        run = seen.get(run_id)
        if run is None:
            left.append((run_id, ServiceError("unknown_run")))
            continue
        try:
            changed.append(ChangedRun(run_id, _CHANGES[wanted](session, run)))
        except ServiceError as error:
            left.append((run_id, error))
            continue
        actor = Actor(caller.kind, caller.name, caller.role, caller.address)
        detail = {"asked": str(wanted), "stands": changed[-1].stands}
        trail.append(session, AuditEvent(actor, Action.CHANGE, object_kind="run", object_id=run_id, detail=detail))
    return RunsChanged(tuple(changed), tuple(left))


def _requeue(session: Session, run: RunRow) -> str:
    return requeue(session, run).id


def _cancel(session: Session, run: RunRow) -> str:
    """Take a run back; what a worker still says of it comes too late."""
    if RunStatus(run.status).is_terminal:
        raise ServiceError("run_over")
    now = now_of(session)
    attempts = attempts_of(session, {run.id: run.attempt}) if run.status in IN_WORK.values() else {}
    make_moves(session, [Move(run, RunStatus.CANCELLED, {"held": False}, TAKEN_BACK)], now)
    end_attempts(session, [(attempt, AttemptEnding.CANCELLED) for attempt in attempts.values()], now)
    return run.id


def _hurry(priority: Priority) -> Callable[[Session, RunRow], str]:
    def change(session: Session, run: RunRow) -> str:
        if RunStatus(run.status).is_terminal:
            raise ServiceError("run_over")
        rank = CELERY_PRIORITY[priority]
        if run.priority == rank:
            raise ServiceError("as_asked")
        sent_anew = {"priority": rank, "dispatched_at": None, "held": False}
        session.execute(update(RunRow).where(RunRow.id == run.id).values(**sent_anew))
        # Its images are made ready with it; a study whose other run is as urgent is not made to wait for this one.
        hurried = update(StudyRow).where(StudyRow.id == run.study_id, StudyRow.working_priority > rank)
        session.execute(hurried.values(working_priority=rank).execution_options(synchronize_session=False))
        return run.id

    return change


_CHANGES: dict[RunChange, Callable[[Session, RunRow], str]] = {
    RunChange.REQUEUE: _requeue,
    RunChange.CANCEL: _cancel,
    RunChange.STAT: _hurry(Priority.STAT),
    RunChange.ROUTINE: _hurry(Priority.ROUTINE),
}
