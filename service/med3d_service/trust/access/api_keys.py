"""API keys: made once, shown once, kept as digests."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from med3d_service.settings import Settings
from med3d_service.storage.database import Database, db_now, now_of
from med3d_service.storage.guard import guard_of, is_genuine
from med3d_service.storage.keys import write_secret
from med3d_service.storage.opening import open_database
from med3d_service.storage.same_secret import is_same_secret
from med3d_service.storage.tables import ApiKeyRow
from med3d_service.trust.access.roles import Grant, Role

MARK = "m3d_"
USE_NOTED_EVERY_S = 60.0
OF_A_PERSON = "p"
"""Begins the prefix of a person's key."""
LETTERS = 5
"""Of a prefix for who a person is, and as many for what is granted: 25 bits each, 50 to be told apart by."""


class UnknownKeyError(Exception):
    """No key that works has this prefix."""


@dataclass(frozen=True)
class MadeKey:
    """A new key; ``text`` is shown once."""

    prefix: str
    text: str


def create_key(session: Session, grant: Grant, *, name: str = "", valid_s: float | None = None) -> MadeKey:
    """Make a key. The database keeps its digest; ``name`` says what it is for; it ends after ``valid_s``, or never."""
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    text = f"{MARK}{prefix}_{secret}"
    now = now_of(session)
    session.add(
        ApiKeyRow(
            prefix=prefix,
            key_sha256=_digest(text),
            name=name,
            role=grant.role,
            clinical=grant.clinical,
            site=grant.site,
            created_at=now,
            expires_at=None if valid_s is None else now + valid_s,
        )
    )
    return MadeKey(prefix, text)


def person_key(session: Session, issuer: str, subject: str, name: str, grant: Grant) -> ApiKeyRow:
    """Find or make the key whose shadows the sessions of a person are whom an OpenID issuer names.

    Nobody has its text. Its prefix says who it is and what is granted, so that another grant is another key. Raises
    UnknownKeyError where it was revoked: that shuts the person out of the pages.
    """
    prefix = person_prefix(issuer, subject) + _letters(
        issuer, subject, *map(str, (grant.role, grant.clinical, grant.site))
    )
    key, now = session.get(ApiKeyRow, prefix), now_of(session)
    if key is not None:
        if not is_valid(session, key, now):
            raise UnknownKeyError(prefix)
        return key
    made = ApiKeyRow(
        prefix=prefix,
        key_sha256=_digest(secrets.token_urlsafe(32)),
        name=f"{name or subject} (OpenID Connect)"[:200],
        role=grant.role,
        clinical=grant.clinical,
        site=grant.site,
        created_at=now,
        expires_at=None,
    )
    session.add(made)
    session.flush()
    return made


def person_prefix(issuer: str, subject: str) -> str:
    """Return what the keys of a person begin with: no key that is made by hand begins so, for those are hexadecimal."""
    return OF_A_PERSON + _letters(issuer, subject)


def _letters(*parts: str) -> str:
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:LETTERS]


def rotate_key(session: Session, prefix: str, *, overlap_s: float) -> MadeKey:
    """Make a key that grants what ``prefix`` grants, which ends after ``overlap_s``.

    Raises UnknownKeyError, of a person's key, too: nobody has its text, and its end shuts the person out.
    """
    if prefix.startswith(OF_A_PERSON):
        raise UnknownKeyError(prefix)
    old, now = _working(session, prefix)
    valid_s = None if old.expires_at is None else old.expires_at - old.created_at
    made = create_key(session, Grant(Role(old.role), old.clinical, old.site), name=old.name, valid_s=valid_s)
    old.expires_at = min(now + overlap_s, old.expires_at or float("inf"))
    _note_end(session, prefix, old.expires_at)
    return made


def revoke_key(session: Session, prefix: str) -> None:
    """End a key now. Raises UnknownKeyError."""
    key, now = _working(session, prefix)
    key.revoked_at = now
    _note_end(session, prefix, now)


def list_keys(session: Session) -> list[ApiKeyRow]:
    """Return all keys that there ever were, the newest first."""
    return list(session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created_at.desc(), ApiKeyRow.prefix)))


def find_key(database: Database, text: str) -> ApiKeyRow | None:
    """Find the key ``text``; None where it is unknown, expired or revoked. Its use is noted, to the minute."""
    parts = text.split("_", 2)
    if len(parts) != 3 or not text.startswith(MARK):
        return None
    with database.read() as session:
        key = session.get(ApiKeyRow, parts[1])
        now = now_of(session)
        if key is None or not is_same_secret(key.key_sha256, _digest(text)) or not is_valid(session, key, now):
            return None
    return key


def note_use(database: Database, prefix: str) -> None:
    """Remember that a key was used now."""
    due = or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at < db_now() - USE_NOTED_EVERY_S)
    with database.write() as session:
        session.execute(update(ApiKeyRow).where(ApiKeyRow.prefix == prefix, due).values(last_used_at=db_now()))


def ensure_key_file(settings: Settings, grant: Grant, path: Path) -> None:
    """Leave a working key of ``grant`` in ``path`` (0600): what lies there if it works, else a new one."""
    database = open_database(settings)
    try:
        if path.exists():
            key = find_key(database, path.read_text().strip())
            if key is not None and Grant(Role(key.role), key.clinical, key.site) == grant:
                path.chmod(0o600)
                return
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with database.write() as session:
            made = create_key(session, grant, name=path.name)
        write_secret(aside, made.text + "\n")
        aside.replace(path)
    finally:
        database.close()


def _working(session: Session, prefix: str) -> tuple[ApiKeyRow, float]:
    key = session.get(ApiKeyRow, prefix)
    now = now_of(session)
    if key is None or not is_valid(session, key, now):
        raise UnknownKeyError(prefix)
    return key, now


def is_valid(session: Session, key: ApiKeyRow, now: float) -> bool:
    """Return whether the key opens anything: by its row, if the service wrote it, and by the sealed counter."""
    if not is_genuine(session, key) or key.revoked_at is not None:
        return False
    guard = guard_of(session)
    ended_at = None if guard is None else guard.counter.read().ended_keys.get(key.prefix)
    if guard is not None and ended_at is not None and (key.expires_at is None or key.expires_at > ended_at):
        guard.note_forged("key", key.prefix)  # an older row was put back
    return all(at is None or at > now for at in (key.expires_at, ended_at))


def _note_end(session: Session, prefix: str, at: float) -> None:
    """End it before the row says so: what is broken off in between has ended, too."""
    guard = guard_of(session)
    if guard is not None:
        guard.counter.end_key(prefix, at)


def _digest(text: str) -> str:
    # The secret has 256 random bits, so a slow hash would add nothing.
    return hashlib.sha256(text.encode()).hexdigest()
