"""What stays of an erased study."""

from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from med3d_service.storage.tables import ID, STATUS, Base


class TombstoneRow(Base):
    """That there was a study, and who erased it. ``objects`` are the keys that are still to be removed."""

    __tablename__ = "tombstones"
    study_id: Mapped[str] = mapped_column(ID, primary_key=True)
    site: Mapped[str] = mapped_column(String(64))
    erased_at: Mapped[float]
    actor_kind: Mapped[str] = mapped_column(STATUS)
    actor: Mapped[str] = mapped_column(String(200))
    runs: Mapped[int]
    objects: Mapped[list[Any]]
    finished_at: Mapped[float | None] = mapped_column(index=True)
