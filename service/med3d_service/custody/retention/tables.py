"""What retention has taken from the rows and not yet from the store."""

from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from med3d_service.storage.tables import Base


class RemovalRow(Base):
    """Objects to be removed, written in the transaction that let go of them; gone when they are."""

    __tablename__ = "removals"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    planned_at: Mapped[float]
    objects: Mapped[list[Any]]
