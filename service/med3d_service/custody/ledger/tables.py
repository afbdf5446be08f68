"""The table of ledger checks. Times as in med3d_service.storage.tables."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from med3d_service.storage.tables import Base


class LedgerCheckRow(Base):
    """One check of the ledger; GET /metrics shows the newest. ``findings``: how many there were of each code."""

    __tablename__ = "ledger_checks"
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    checked_at: Mapped[float]
    duration_s: Mapped[float]
    studies: Mapped[int]
    runs: Mapped[int]
    instances: Mapped[int]
    findings: Mapped[dict[str, Any]]


def latest_check(session: Session) -> LedgerCheckRow | None:
    """Return the newest check; None where there was none yet."""
    return session.scalars(select(LedgerCheckRow).order_by(LedgerCheckRow.seq.desc()).limit(1)).first()
