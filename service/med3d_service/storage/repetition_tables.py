"""Answers to POSTs that carried an Idempotency-Key."""

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from med3d_service.storage.tables import DIGEST, Base


class RepetitionRow(Base):
    """One key of one caller. ``status`` is None while the first request is under way."""

    __tablename__ = "repetitions"
    key_sha256: Mapped[str] = mapped_column(DIGEST, primary_key=True)  # of caller, method, address and key
    began_at: Mapped[float] = mapped_column(index=True)
    request_sha256: Mapped[str | None] = mapped_column(DIGEST)
    status: Mapped[int | None]
    content_type: Mapped[str | None] = mapped_column(Text)
    location: Mapped[str | None] = mapped_column(Text)
    body: Mapped[str | None] = mapped_column(Text)
