"""Work that lies in a table: who takes a row holds it until a lease ends, and then another may take it.

Leases are by the database's own clock. A fence (a number of the claim, of the try, or what the row was) keeps who was
thought lost from ending another's work: see ``move_rows``.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from med3d_service.storage.database import db_now
from med3d_service.storage.tables import Base

Row = TypeVar("Row", bound=Base)


@dataclass(frozen=True, eq=False)
class WorkTable(Generic[Row]):
    """Rows that wait for somebody to work on them, or are ``in_hand`` until their lease ends."""

    row: type[Row]
    waits: ColumnElement[bool]
    in_hand: ColumnElement[bool]
    lease_until: InstrumentedAttribute[float | None]

    @property
    def is_due(self) -> ColumnElement[bool]:
        """It waits, or whoever had it was lost."""
        return or_(self.waits, self.in_hand & (self.lease_until < db_now()))

    def has_due(self, session: Session, *only: ColumnElement[bool]) -> bool:
        """Tell whether there is something to take, without a lock: most looks find nothing."""
        found = select(self.lease_until).where(self.is_due, *only).limit(1)
        return session.execute(found).first() is not None

    def lock_due(
        self, session: Session, *only: ColumnElement[bool], order: Sequence[Any], limit: int = 1
    ) -> Sequence[Row]:
        """Lock the first that are due; those that another is taking just now are passed over."""
        query = select(self.row).where(self.is_due, *only).order_by(*order).limit(limit)
        return session.scalars(query.with_for_update(skip_locked=True)).all()


def move_rows(
    session: Session,
    status: InstrumentedAttribute[Any],
    moves: Mapping[Any, AbstractSet[Any]],
    before: AbstractSet[Any],
    to: Any,
    *only: ColumnElement[bool],
    **values: Any,
) -> int:
    """Move the rows that stand at one of ``before`` and are as ``only`` says to ``to``; return how many there were.

    ``values`` are further columns. Rows that the session holds are not read anew. Raises AssertionError for a move that
    the table of ``moves`` does not know.
    """
    for one in before:
        assert to in moves[one], f"nothing goes from {one} to {to}"
    session.flush()
    here = update(status.class_).where(status.in_(before), *only)
    moved = here.values({status.key: to} | values).execution_options(synchronize_session=False)
    return session.connection().execute(moved).rowcount
