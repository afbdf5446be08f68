"""What happened to runs lately, for those who follow all that they may see."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from med3d_service.storage.tables import RunEventRow, RunRow, StudyRow
from med3d_service.trust.access import Caller

MOST_AT_ONCE = 200


def newest_event(session: Session) -> int:
    """Return the number of the latest event of any run; 0 where there is none."""
    return session.execute(select(func.coalesce(func.max(RunEventRow.seq), 0))).scalar_one()


def events_after(session: Session, caller: Caller, seen: int) -> Sequence[RunEventRow]:
    """Read what happened after event ``seen`` to runs that ``caller`` sees, the oldest first, so many at once."""
    query = (
        select(RunEventRow)
        .join(RunRow, RunRow.id == RunEventRow.run_id)
        .join(StudyRow, StudyRow.id == RunRow.study_id)
        .where(RunEventRow.seq > seen, caller.sees(StudyRow.site))
    )
    return session.scalars(query.order_by(RunEventRow.seq).limit(MOST_AT_ONCE)).all()
