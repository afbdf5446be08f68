"""The site's secret keys, each for one purpose, derived from one site key (HKDF-SHA256, RFC 5869).

A site key that was rotated carries, on lines of its own, what a rotation cannot make anew: the keys of the blind index
and of stand-ins for UIDs, and those of the audit trail's earlier entries.
"""

import hashlib
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from med3d_service.settings import Settings

KEY_BYTES = 32


class SiteKeyMissingError(ValueError):
    """There is a database, and not the key that its contents are sealed with."""


class RotationUnfinishedError(ValueError):
    """A rotation of the site key was broken off: nothing may run before it has ended."""


@dataclass(frozen=True)
class SiteKeys:
    """32 bytes each. Who holds ``uids`` cannot read ``originals``, and so on.

    ``older_identifiers`` still open what was written before a rotation; nothing is written with them. ``older_audit``:
    the number of the last entry that each former key of the audit trail proves, oldest first.
    """

    originals: bytes = field(repr=False)
    identifiers: bytes = field(repr=False)
    blind_index: bytes = field(repr=False)
    uids: bytes = field(repr=False)
    audit: bytes = field(default=b"", repr=False)
    rows: bytes = field(default=b"", repr=False)
    counter: bytes = field(default=b"", repr=False)
    older_identifiers: tuple[bytes, ...] = field(default=(), repr=False)
    older_audit: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)


def derive(secret: bytes, purpose: str, salt: bytes | None = None) -> bytes:
    """Derive a 32-byte key of ``secret`` for one purpose."""
    info = f"med3d/{purpose}/1".encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(secret)


def load_keys(settings: Settings) -> SiteKeys:
    """Take the site key from the settings, else from ``data_dir/site.key``, which is made (0600) where absent.

    Raises ValueError when it is not 64 hex digits: a damaged key must never be replaced in silence, for it alone opens
    what was stored. Raises RotationUnfinishedError.
    """
    require_rotation_ended(settings)
    return keys_of(settings, site_key_text(settings))


def site_key_text(settings: Settings) -> str:
    """Return the site key as it is kept, with the lines that a rotation left."""
    if settings.site_key is not None:
        return settings.site_key.get_secret_value()
    return _key_file(settings.data_dir / "site.key")


def keys_of(settings: Settings, text: str) -> SiteKeys:
    """Derive the keys of a site key and of the settings' identifier keys. Raises ValueError for a damaged one."""
    first, *lines = text.strip().splitlines() or [""]
    try:
        secret = bytes.fromhex(first)
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ValueError("the site key must begin with 64 hex digits (site.key, MED3D_SITE_KEY, MED3D_SITE_KEY_FILE)")
    carried, older_audit = _carried(lines)
    newest, *older = (*identifier_keys(settings), derive(secret, "identifiers"))
    return SiteKeys(
        originals=derive(secret, "originals"),
        identifiers=newest,
        older_identifiers=tuple(older),
        blind_index=carried.get("blind-index") or derive(secret, "blind-index"),
        uids=carried.get("uids") or derive(secret, "uids"),
        audit=derive(secret, "audit"),
        rows=derive(secret, "rows"),
        # Over all lines: a key that was copied without those that it carries opens no sealed counter, which is told.
        counter=derive(secret, "counter", _digest_of(lines)),
        older_audit=older_audit,
    )


def rotated_text(before: SiteKeys, last_entry: int) -> str:
    """Return a new site key that carries what ``before`` cannot give up.

    The trail's entries up to ``last_entry`` are its.
    """
    audit = (*before.older_audit, (last_entry, before.audit))
    return "".join(
        (
            f"{secrets.token_hex(KEY_BYTES)}\n",
            f"blind-index {before.blind_index.hex()}\n",
            f"uids {before.uids.hex()}\n",
            *(f"audit {last} {key.hex()}\n" for last, key in audit),
        )
    )


_CARRIED = re.compile(r"(?:(blind-index|uids)|audit (\d+)) ([0-9a-f]{64})")


def _carried(lines: list[str]) -> tuple[dict[str, bytes], tuple[tuple[int, bytes], ...]]:
    by_name: dict[str, bytes] = {}
    audit: list[tuple[int, bytes]] = []
    for line in lines:
        found = _CARRIED.fullmatch(line.strip())
        if found is None:
            raise ValueError("a line of the site key is not as a rotation left it")
        name, last, key = found.groups()
        if name:
            by_name[name] = bytes.fromhex(key)
        else:
            audit.append((int(last), bytes.fromhex(key)))
    return by_name, tuple(audit)


def _digest_of(lines: list[str]) -> bytes | None:
    return hashlib.sha256("\n".join(line.strip() for line in lines).encode()).digest() if lines else None


def next_key_file(settings: Settings) -> Path:
    """Tell where the new site key lies while it takes the old one's place."""
    return settings.data_dir / "site.key.next"


def require_rotation_ended(settings: Settings) -> None:
    """Raise RotationUnfinishedError where a rotation of the site key was broken off, or is under way."""
    if next_key_file(settings).exists():
        raise RotationUnfinishedError(
            "the site key is being rotated, or that was broken off: run 'med3d site-key rotate', which ends it"
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
    """Return the identifiers' own keys, newest first: of the settings, else of ``data_dir/identifier.keys``, else none.

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
    """Tell where rotation leaves the identifiers' keys, unless the settings give them."""
    return settings.data_dir / "identifier.keys"


def write_identifier_keys(settings: Settings, keys: tuple[bytes, ...]) -> None:
    """Put ``keys`` in place of the file's, at once."""
    path = identifier_keys_file(settings)
    aside = path.with_suffix(f".{secrets.token_hex(4)}")
    write_secret(aside, "".join(f"{key.hex()}\n" for key in keys))
    put_in_place(aside, path)


def put_in_place(aside: Path, path: Path) -> None:
    """Rename a file over another in its folder, and have that on disk."""
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
