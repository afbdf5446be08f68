"""The tables of the audit trail. Nothing but audit.trail writes them."""

from sqlalchemy import BigInteger, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from med3d_service.storage.tables import DIGEST, STATUS, Base


class AuditRow(Base):
    """One entry. ``mac`` seals it and, through the one before, everything before it."""

    __tablename__ = "audit_trail"
    __table_args__ = (Index("ix_audit_trail_object", "object_kind", "object_id"),)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[float] = mapped_column(index=True)
    actor_kind: Mapped[str] = mapped_column(STATUS)
    actor: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(STATUS)
    address: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(STATUS)
    outcome: Mapped[str] = mapped_column(STATUS)
    object_kind: Mapped[str] = mapped_column(STATUS)
    object_id: Mapped[str] = mapped_column(String(100))
    detail: Mapped[str] = mapped_column(Text)
    mac: Mapped[str] = mapped_column(DIGEST)


class AuditHeadRow(Base):
    """Where the trail begins and ends (one row). ``seal`` is over all of it: an end that was cut off is missed."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_seq: Mapped[int] = mapped_column(BigInteger)  # of the oldest entry that is kept
    first_mac: Mapped[str] = mapped_column(DIGEST)  # of the entry before it
    last_seq: Mapped[int] = mapped_column(BigInteger)
    last_mac: Mapped[str] = mapped_column(DIGEST)
    seal: Mapped[str] = mapped_column(DIGEST)
    forwarded_seq: Mapped[int] = mapped_column(BigInteger)  # sent to the syslog receiver
    counter: Mapped[int] = mapped_column(BigInteger, default=0)  # the sealed counter's number when it was last noted
