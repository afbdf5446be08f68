"""Runs that wait and are not to be begun: held while their reprocessing rests, cancelled with it."""

from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import Priority, RunStatus
from med3d_service.runs.endings import WAITING
from med3d_service.runs.moves import Move, make_moves
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import RunRow


def waits_for(reprocessing_id: str) -> tuple[ColumnElement[bool], ...]:
    """Return its runs that have not begun; not those that somebody made more urgent meanwhile."""
    return (
        RunRow.reprocessing_id == reprocessing_id,
        RunRow.status.in_(WAITING.values()),
        RunRow.priority == CELERY_PRIORITY[Priority.COHORT],
    )


def cancel_waiting(session: Session, reprocessing_id: str) -> int:
    """Cancel the runs of a reprocessing that have not begun; what is in work is brought to its end."""
    waiting = select(RunRow).where(*waits_for(reprocessing_id)).with_for_update(skip_locked=True)
    runs = session.scalars(waiting).all()
    moves = [Move(run, RunStatus.CANCELLED, {"held": False}, "cancelled") for run in runs]
    make_moves(session, moves, now_of(session))
    return len(runs)


def hold(session: Session, reprocessing_id: str) -> int:
    """Hold the runs of a reprocessing that have not begun, in the status that they have; how many it stopped now."""
    return _set(session, reprocessing_id, {"held": True}, RunRow.held.is_(False))


def release(session: Session, reprocessing_id: str) -> int:
    """Let held runs go on; how many did."""
    return _set(session, reprocessing_id, {"held": False, "dispatched_at": None}, RunRow.held.is_(True))


def _set(session: Session, reprocessing_id: str, values: dict[str, Any], now: ColumnElement[bool]) -> int:
    statement = update(RunRow).where(*waits_for(reprocessing_id), now).values(**values)
    return session.connection().execute(statement.execution_options(synchronize_session=False)).rowcount
