"""The table of ledger checks. Times as in med3d_service.storage.tables."""

from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

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
