"""The tables of what opens the pages: sessions of browsers, and the one-time links that begin them."""

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from med3d_service.storage.tables import DIGEST, Base, SealedRow


class SessionRow(SealedRow, Base):
    """A browser that signed in. It may do what its key may, and for no longer; the cookie's secret is kept nowhere."""

    __tablename__ = "sessions"
    SEALED_AS = "session"
    SEALED_COLUMNS = ("id", "secret_sha256", "key_prefix", "created_at", "expires_at")
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    secret_sha256: Mapped[str] = mapped_column(DIGEST)
    key_prefix: Mapped[str] = mapped_column(ForeignKey("api_keys.prefix"), index=True)
    created_at: Mapped[float]
    used_at: Mapped[float]  # to the minute
    expires_at: Mapped[float]
    ended_at: Mapped[float | None]  # signed out


class SignInLinkRow(SealedRow, Base):
    """A link that opens one session of the key that it was made by."""

    __tablename__ = "sign_in_links"
    SEALED_AS = "sign_in_link"
    SEALED_COLUMNS = ("code_sha256", "key_prefix", "created_at", "expires_at")
    code_sha256: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    key_prefix: Mapped[str] = mapped_column(ForeignKey("api_keys.prefix"), index=True)
    created_at: Mapped[float]
    expires_at: Mapped[float]
    used_at: Mapped[float | None]
