"""What happened to runs lately, for those who follow all that they may see."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from med3d_service.runs.fences import select_own_runs
from med3d_service.storage.tables import RunEventRow
from med3d_service.trust.access import Caller

MOST_AT_ONCE = 200


def newest_event(session: Session) -> int:
    """Return the number of the latest event of any run; 0 where there is none."""
    return session.execute(select(func.coalesce(func.max(RunEventRow.seq), 0))).scalar_one()


def events_after(session: Session, caller: Caller, seen: int) -> tuple[list[RunEventRow], int]:
    """Read what happened after event ``seen`` to runs that ``caller`` sees, the oldest first, and how far was looked.

    Events are read first and then asked whose they are: joined, SQLite would begin with all studies of the caller's
    site, and what happens at others would be read again at each look.
    """
    later = select(RunEventRow).where(RunEventRow.seq > seen).order_by(RunEventRow.seq).limit(MOST_AT_ONCE)
    found = session.scalars(later).all()
    if not found:
        return [], seen
    visible = select_own_runs(session, caller, {event.run_id for event in found})
    return [event for event in found if event.run_id in visible], found[-1].seq
