"""The table of what people keep of their worklist's filters."""

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from med3d_service.storage.tables import DIGEST, ID, Base


class SavedViewRow(Base):
    """The filters of a worklist under a name, of one person. It holds nothing that was searched for."""

    __tablename__ = "saved_views"
    __table_args__ = (Index("uq_saved_views_owner_name", "owner", "name", unique=True),)
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    owner: Mapped[str] = mapped_column(DIGEST)  # of the key's prefix, or of the token's subject
    name: Mapped[str] = mapped_column(String(60))
    shown: Mapped[str] = mapped_column(String(16))  # empty: whatever became of them
    sender: Mapped[str] = mapped_column(String(100))
    days: Mapped[int | None]  # sent in these last days, today among them
    superseded: Mapped[bool]
    created_at: Mapped[float]
