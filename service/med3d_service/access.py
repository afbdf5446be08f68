"""Who may call: API keys (only their digests are kept) with one scope each."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select

from med3d_service.database import Database, db_now
from med3d_service.keys import write_secret
from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.tables import ApiKeyRow

Scope = Literal["client", "clinical", "worker"]
"""``clinical`` keys may do what ``client`` keys may, and see and search for what names a patient."""


@dataclass(frozen=True)
class Caller:
    """Who calls, as far as authorisation goes."""

    prefix: str
    scope: str
    site: str


def create_key(database: Database, scope: Scope, site: str) -> str:
    """Make a key and return it; the database keeps its digest only."""
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"m3d_{prefix}_{secret}"
    with database.write() as session:
        now = session.execute(select(db_now())).scalar_one()
        session.add(ApiKeyRow(prefix=prefix, key_sha256=_digest(key), scope=scope, site=site, created_at=now))
    return key


def authenticate(database: Database, key: str) -> Caller | None:
    """Find who holds ``key``; None where it is unknown, expired or revoked."""
    parts = key.split("_", 2)
    if len(parts) != 3 or parts[0] != "m3d":
        return None
    with database.read() as session:
        row = session.get(ApiKeyRow, parts[1])
        if row is None or not hmac.compare_digest(row.key_sha256, _digest(key)) or row.revoked_at is not None:
            return None
        if row.expires_at is not None and row.expires_at <= session.execute(select(db_now())).scalar_one():
            return None
        return Caller(row.prefix, row.scope, row.site)


def _digest(key: str) -> str:
    # The secret has 256 random bits, so a slow hash would add nothing.
    return hashlib.sha256(key.encode()).hexdigest()


def ensure_key_file(settings: Settings, scope: Scope, path: Path) -> None:
    """Leave a valid key of ``scope`` in ``path`` (0600): what lies there if it works, else a new one."""
    database = Database(settings.database)
    try:
        if path.exists():
            caller = authenticate(database, path.read_text().strip())
            if caller is not None and caller.scope == scope:
                path.chmod(0o600)
                return
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(aside, create_key(database, scope, settings.site) + "\n")
        aside.replace(path)
    finally:
        database.close()


_bearer = HTTPBearer(auto_error=False, description="An API key: Authorization: Bearer KEY")


def _caller(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]) -> Caller:
    if credentials is None:
        raise ServiceError("missing_key")
    caller = authenticate(request.app.state.service.database, credentials.credentials)
    if caller is None:
        raise ServiceError("invalid_key")
    return caller


def _client(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    if caller.scope not in {"client", "clinical"}:
        raise ServiceError("wrong_scope")
    return caller


def _clinical(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    if caller.scope != "clinical":
        raise ServiceError("wrong_scope")
    return caller


def _worker(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    if caller.scope != "worker":
        raise ServiceError("wrong_scope")
    return caller


Client = Annotated[Caller, Depends(_client)]
Clinical = Annotated[Caller, Depends(_clinical)]
WorkerCaller = Annotated[Caller, Depends(_worker)]
