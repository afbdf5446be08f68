"""Counters that outlive the process which counts, and the callers that were turned away: what an administrator asks."""

from collections.abc import Mapping

from sqlalchemy import BigInteger, Connection, Index, String, delete, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from med3d_service.storage.tables import Base

MOST_CALLERS = 1000
"""So many callers that were turned away are kept: a flood of strangers fills no disk."""


class CounterRow(Base):
    """How often something has happened since the database was made."""

    __tablename__ = "counters"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class TurnedAwayRow(Base):
    """A caller who got no association, and why."""

    __tablename__ = "turned_away"
    __table_args__ = (Index("ix_turned_away_last", "last_at"),)
    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
    address: Mapped[str] = mapped_column(String(64), primary_key=True)
    ae_title: Mapped[str] = mapped_column(String(16), primary_key=True)  # as it called itself; empty: it had not said
    count: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[float]
    last_at: Mapped[float]


# Text, for both databases know this clause and SQLAlchemy has one word for each.
_COUNT = text(
    "INSERT INTO counters (name, label, value) VALUES (:name, :label, :value) "
    "ON CONFLICT (name, label) DO UPDATE SET value = counters.value + excluded.value"
)
_ADVANCE = text(
    "INSERT INTO counters (name, label, value) VALUES (:name, :label, :value) ON CONFLICT (name, label) "
    "DO UPDATE SET value = excluded.value WHERE counters.value <= excluded.value - :least_step"
)
_TURN_AWAY = text(
    "INSERT INTO turned_away (reason, address, ae_title, count, first_at, last_at) "
    "VALUES (:reason, :address, :ae_title, :count, :now, :now) ON CONFLICT (reason, address, ae_title) "
    "DO UPDATE SET count = turned_away.count + excluded.count, last_at = excluded.last_at"
)


def add_to_counters(connection: Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to counters, each by name and label; in one order for all, so that nobody waits in a ring."""
    rows = [{"name": name, "label": label[:64], "value": value} for (name, label), value in sorted(counts.items())]
    if rows:
        connection.execute(_COUNT, rows)


def read_counter(session: Session, name: str, label: str) -> int | None:
    """Read a counter; None where nothing was counted."""
    query = select(CounterRow.value).where(CounterRow.name == name, CounterRow.label == label[:64])
    return session.scalars(query).first()


def advance_counter(session: Session, name: str, label: str, value: int, *, least_step: int = 1) -> bool:
    """Set a counter forward by ``least_step`` or more; whether it was: of several that try at once, one does."""
    values = {"name": name, "label": label[:64], "value": value, "least_step": least_step}
    done = session.connection().execute(_ADVANCE, values)
    return done.rowcount > 0


def note_turned_away(
    session: Session, callers: Mapping[tuple[str, str, str], int], now: float, most: int = MOST_CALLERS
) -> None:
    """Add callers, by reason, address and AE title, and forget the oldest beyond ``most``."""
    rows = [
        {"reason": reason[:32], "address": address[:64], "ae_title": ae_title[:16], "count": count, "now": now}
        for (reason, address, ae_title), count in sorted(callers.items())
    ]
    if not rows:
        return
    session.execute(_TURN_AWAY, rows)
    oldest = select(TurnedAwayRow.last_at).order_by(TurnedAwayRow.last_at.desc()).offset(most).limit(1)
    last_at = session.scalars(oldest).first()
    if last_at is not None:
        session.execute(delete(TurnedAwayRow).where(TurnedAwayRow.last_at <= last_at))
