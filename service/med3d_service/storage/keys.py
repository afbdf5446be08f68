"""The site's secret keys, each for one purpose, derived from one site key (HKDF-SHA256, RFC 5869)."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from med3d_service.settings import Settings

KEY_BYTES = 32


class SiteKeyMissingError(ValueError):
    """There is a database, and not the key that its contents are sealed with."""


@dataclass(frozen=True)
class SiteKeys:
    """32 bytes each. Who holds ``uids`` cannot read ``originals``, and so on.

    ``older_identifiers`` still open what was written before a rotation; nothing is written with them.
    """

    originals: bytes = field(repr=False)
    identifiers: bytes = field(repr=False)
    blind_index: bytes = field(repr=False)
    uids: bytes = field(repr=False)
    audit: bytes = field(default=b"", repr=False)
    rows: bytes = field(default=b"", repr=False)
    counter: bytes = field(default=b"", repr=False)
    older_identifiers: tuple[bytes, ...] = field(default=(), repr=False)


def derive(secret: bytes, purpose: str, salt: bytes | None = None) -> bytes:
    """Derive a 32-byte key of ``secret`` for one purpose."""
    info = f"med3d/{purpose}/1".encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(secret)


def load_keys(settings: Settings) -> SiteKeys:
    """Take the site key from the settings, else from ``data_dir/site.key``, which is made (0600) where absent.

    Raises ValueError when it is not 64 hex digits: a damaged key must never be replaced in silence, for it alone opens
    what was stored.
    """
    if settings.site_key is not None:
        text = settings.site_key.get_secret_value()
    else:
        text = _key_file(settings.data_dir / "site.key")
    secret = bytes.fromhex(text.strip())
    if len(secret) != KEY_BYTES:
        raise ValueError("the site key must be 64 hex digits")
    newest, *older = (*identifier_keys(settings), derive(secret, "identifiers"))
    return SiteKeys(
        originals=derive(secret, "originals"),
        identifiers=newest,
        older_identifiers=tuple(older),
        blind_index=derive(secret, "blind-index"),
        uids=derive(secret, "uids"),
        audit=derive(secret, "audit"),
        rows=derive(secret, "rows"),
        counter=derive(secret, "counter"),
    )


def require_site_key(settings: Settings) -> None:
    """Raise SiteKeyMissingError where ``load_keys`` would make one: beside a database that is no help, it is harm."""
    path = settings.data_dir / "site.key"
    if settings.site_key is None and not path.exists():
        raise SiteKeyMissingError(
            f"the site key is missing: copy it to {path} (or set MED3D_SITE_KEY_FILE); a new one would open nothing of "
            "what is stored"
        )


def identifier_keys(settings: Settings) -> tuple[bytes, ...]:
    """The identifiers' own keys, newest first: of the settings, else of ``data_dir/identifier.keys``, else none.

    Without one they are encrypted under a key that derives from the site key. Raises ValueError for a damaged key.
    """
    if settings.identifier_keys is not None:
        text = settings.identifier_keys.get_secret_value()
    else:
        path = identifier_keys_file(settings)
        text = path.read_text() if path.exists() else ""
    keys = tuple(bytes.fromhex(line) for line in text.split())
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError("an identifier key must be 64 hex digits; several stand on a line each, the newest first")
    return keys


def identifier_keys_file(settings: Settings) -> Path:
    """Where rotation leaves the identifiers' keys, unless the settings give them."""
    return settings.data_dir / "identifier.keys"


def write_identifier_keys(settings: Settings, keys: tuple[bytes, ...]) -> None:
    """Put ``keys`` in place of the file's, at once."""
    path = identifier_keys_file(settings)
    aside = path.with_suffix(f".{secrets.token_hex(4)}")
    write_secret(aside, "".join(f"{key.hex()}\n" for key in keys))
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _key_file(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_suffix(f".{secrets.token_hex(4)}")
        write_secret(aside, secrets.token_hex(KEY_BYTES) + "\n")
        try:
            os.link(aside, path)  # of two processes that start at once, one wins
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text()


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner reads, and have it on disk. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
