"""Runs that wait and are not to be begun, because their reprocessing rests. Their status stays what it is."""

from typing import Any

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from med3d_service.runs.transitions import waits_for
from med3d_service.tables import RunRow


def hold(session: Session, reprocessing_id: str) -> int:
    """Hold the runs of a reprocessing that have not begun; how many it stopped now."""
    return _set(session, reprocessing_id, {"held": True}, RunRow.held.is_(False))


def release(session: Session, reprocessing_id: str) -> int:
    """Let held runs go on; how many did."""
    return _set(session, reprocessing_id, {"held": False, "dispatched_at": None}, RunRow.held.is_(True))


def _set(session: Session, reprocessing_id: str, values: dict[str, Any], now: ColumnElement[bool]) -> int:
    statement = update(RunRow).where(*waits_for(reprocessing_id), now).values(**values)
    return session.connection().execute(statement.execution_options(synchronize_session=False)).rowcount
