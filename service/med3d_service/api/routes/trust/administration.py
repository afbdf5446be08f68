"""Administration: keys, sessions, the audit trail, and the settings in force."""

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field, SecretStr
from sqlalchemy.orm import Session

from med3d_contract.results import Frozen
from med3d_service.api.http.pages import Cursor, Limit, cursor_behind, place_of
from med3d_service.api.routes import ServiceParts
from med3d_service.api.service import Service
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs.views import moment
from med3d_service.settings import Settings
from med3d_service.storage.sealed_counter import CounterBrokenError
from med3d_service.storage.tables import ApiKeyRow
from med3d_service.trust.access import Admin, Caller, Grant, Role
from med3d_service.trust.access.administering import (
    end_key,
    keys_seen_by,
    make_key,
    replace_key,
    require_every_site,
    sessions_seen_by,
)
from med3d_service.trust.access.api_keys import is_valid
from med3d_service.trust.access.sessions import Sessions
from med3d_service.trust.audit.events import Action, Actor, AuditEvent
from med3d_service.trust.audit.routes import RecordsItself
from med3d_service.trust.audit.searching import search_entries
from med3d_service.trust.audit.trail import TrailBrokenError
from med3d_service.trust.establishing import CounterMissingError, prove_trail

router = APIRouter(tags=["administration"])
HOUR_S, DAY_S = 3600.0, 86400.0
_WITH_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")
AT = "2026-01-05T09:00:00Z"
KEY = {
    "prefix": "0a1b2c3d",
    "name": "reading room",
    "role": "submitter",
    "clinical": True,
    "site": "default",
    "works": True,
    "created_at": AT,
    "last_used_at": AT,
    "ends_at": None,
}
SESSION = {"session_id": "0a1b2c3d4e5f6071", "key": "0a1b2c3d", "begun_at": AT, "used_at": AT, "ends_at": AT}
ENTRY = {
    "seq": 7,
    "at": AT,
    "actor": "session:0a1b2c3d.0a1b2c3d4e5f6071",
    "role": "submitter",
    "address": "10.0.0.7",
    "action": "read",
    "outcome": "done",
    "object_kind": "run",
    "object_id": "9d0a2c52-6a83-4f8e-8b0c-0c9a4c1f7a11",
    "detail": '{"route":"/runs/{run_id}","status":200}',
}
Prefix = Annotated[
    str, Path(pattern="^([0-9a-f]{1,16}|p[a-z2-7]{1,15})$", description="the letters after m3d_; of a person, p...")
]
SessionId = Annotated[str, Path(pattern="^[0-9a-f]{1,16}$", description="as GET /sessions gives it")]
Sought = Annotated[str, Query(max_length=100)]


class KeyView(Frozen):
    """An API key; the key itself is kept nowhere."""

    prefix: str
    name: str
    role: Role
    clinical: bool
    site: str
    works: bool
    created_at: datetime
    last_used_at: datetime | None
    ends_at: datetime | None = Field(description="when it ends, or was revoked")


class KeyList(Frozen):
    """The keys of the caller's site, or all, the newest first."""

    items: tuple[KeyView, ...]


class KeyRequest(Frozen):
    """POST /keys: what the new key may. ``site``: "*" is all."""

    role: Role
    name: str = Field("", max_length=200, description="what it is for; no patient's name")
    clinical: bool = False
    site: str = Field("*", min_length=1, max_length=64)
    days: int | None = Field(None, ge=1, le=3650, description="how long it works; else it does not end")


class KeyReplacement(Frozen):
    """POST /keys/{key_prefix}/rotate: how long the key of before goes on working beside the new one."""

    overlap_hours: int = Field(24, ge=0, le=720)


class NewKey(Frozen):
    """A key, shown this once."""

    prefix: str
    key: str


class SessionView(Frozen):
    """A browser that is signed in."""

    session_id: str
    key: str = Field(description="prefix of the key that it was begun with")
    begun_at: datetime
    used_at: datetime
    ends_at: datetime


class SessionList(Frozen):
    """The sessions that go on, the one used last first."""

    items: tuple[SessionView, ...]


class AuditEntry(Frozen):
    """An entry of the audit trail."""

    seq: int
    at: datetime
    actor: str
    role: str
    address: str
    action: str
    outcome: str
    object_kind: str
    object_id: str
    detail: str


class AuditPage(Frozen):
    """Entries, the newest first."""

    items: tuple[AuditEntry, ...]
    next_cursor: str | None


class TrailProof(Frozen):
    """Whether every entry is as it was written. ``end``: to be noted elsewhere; later trails must contain it."""

    ok: bool
    entries: int | None
    end: str | None
    fault: str | None


class SettingView(Frozen):
    """A setting in force. ``value`` is null for what is secret."""

    name: str
    value: str | None
    is_default: bool


class SettingList(Frozen):
    """All settings by name, and what is known of restored backups."""

    items: tuple[SettingView, ...]
    restored: tuple[str, ...]


def _answers(example: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": "As asked", "content": {"application/json": {"example": example}}}}


@router.get("/keys", summary="List API keys", responses=problems(*AUTH_CODES) | _answers({"items": [KEY]}))
def list_api_keys(service: ServiceParts, caller: Admin) -> KeyList:
    """List the keys that there ever were."""
    with service.database.read() as session:
        now = service.database.now()
        return KeyList(items=tuple(_key(session, key, now) for key in keys_seen_by(session, caller)))


@router.post(
    "/keys",
    status_code=201,
    dependencies=[RecordsItself],
    summary="Make an API key",
    responses=problems(*AUTH_CODES) | _answers({"prefix": "0a1b2c3d", "key": "m3d_0a1b2c3d_..."}, 201),
)
def make_api_key(wanted: KeyRequest, service: ServiceParts, caller: Admin) -> NewKey:
    """Make a key that may no more than the caller. It is shown once: the service keeps its digest."""
    valid_s = None if wanted.days is None else wanted.days * DAY_S
    grant = Grant(wanted.role, wanted.clinical, wanted.site)
    with service.database.write() as session:
        made = make_key(session, caller, grant, name=wanted.name, valid_s=valid_s)
        detail: dict[str, str | int] = {
            "change": "created",
            "role": str(wanted.role),
            "site": wanted.site,
            "clinical": int(wanted.clinical),
        }
        _note(service, session, caller, "key", made.prefix, detail)
    return NewKey(prefix=made.prefix, key=made.text)


@router.post(
    "/keys/{key_prefix}/rotate",
    status_code=201,
    dependencies=[RecordsItself],
    summary="Replace an API key",
    responses=problems("unknown_key", *AUTH_CODES) | _answers({"prefix": "0a1b2c3d", "key": "m3d_0a1b2c3d_..."}, 201),
)
def rotate_api_key(key_prefix: Prefix, wanted: KeyReplacement, service: ServiceParts, caller: Admin) -> NewKey:
    """Make a key that may what this one may; this one ends after the hours given. The new one is shown once."""
    with service.database.write() as session:
        made = replace_key(session, caller, key_prefix, overlap_s=wanted.overlap_hours * HOUR_S)
        detail: dict[str, str | int] = {"change": "rotated", "to": made.prefix, "overlap_hours": wanted.overlap_hours}
        _note(service, session, caller, "key", key_prefix, detail)
    return NewKey(prefix=made.prefix, key=made.text)


@router.delete(
    "/keys/{key_prefix}",
    status_code=204,
    dependencies=[RecordsItself],
    summary="Revoke an API key",
    responses=problems("unknown_key", *AUTH_CODES),
)
def revoke_api_key(key_prefix: Prefix, service: ServiceParts, caller: Admin) -> None:
    """End a key now, and with it its sessions."""
    with service.database.write() as session:
        end_key(session, caller, key_prefix)
        _note(service, session, caller, "key", key_prefix, {"change": "revoked"})


@router.get(
    "/sessions",
    summary="List the sessions of browsers",
    responses=problems(*AUTH_CODES) | _answers({"items": [SESSION]}),
)
def list_sessions(service: ServiceParts, caller: Admin) -> SessionList:
    """List the sessions that go on."""
    with service.database.read() as session:
        rows = sessions_seen_by(session, caller, service.settings.session_idle_s)
        return SessionList(
            items=tuple(
                SessionView(
                    session_id=row.id,
                    key=row.key_prefix,
                    begun_at=moment(row.created_at),
                    used_at=moment(row.used_at),
                    ends_at=moment(row.expires_at),
                )
                for row in rows
            )
        )


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    dependencies=[RecordsItself],
    summary="End a session",
    responses=problems("unknown_session", *AUTH_CODES),
)
def end_session(session_id: SessionId, request: Request, service: ServiceParts, caller: Admin) -> None:
    """Sign a browser out."""
    if session_id not in {one.session_id for one in list_sessions(service, caller).items}:
        raise ServiceError("unknown_session")
    sessions: Sessions = request.app.state.gate.sessions
    sessions.end(session_id)
    with service.database.write() as session:
        _note(service, session, caller, "session", session_id, {"change": "ended"})


@router.get(
    "/audit",
    summary="Search the audit trail",
    responses=problems("invalid_cursor", *AUTH_CODES) | _answers({"items": [ENTRY], "next_cursor": None}),
)
def search_audit(
    service: ServiceParts,
    caller: Admin,
    who: Sought = "",
    what: Sought = "",
    about: Sought = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> AuditPage:
    """Find entries by actor (a key's prefix), action, and the id that they are about. That is an entry, too."""
    require_every_site(caller)
    with service.database.read() as session:
        found = search_entries(session, who=who, what=what, about=about, before=place_of(cursor), limit=limit + 1)
        items = tuple(
            AuditEntry(
                seq=row.seq,
                at=moment(row.at),
                actor=f"{row.actor_kind}:{row.actor}",
                role=row.role,
                address=row.address,
                action=row.action,
                outcome=row.outcome,
                object_kind=row.object_kind,
                object_id=row.object_id,
                detail=row.detail,
            )
            for row in found[:limit]
        )
    return AuditPage(items=items, next_cursor=cursor_behind(items[-1].seq) if len(found) > limit else None)


@router.post(
    "/audit/proofs",
    summary="Prove the audit trail",
    responses=problems(*AUTH_CODES) | _answers({"ok": True, "entries": 7, "end": "7:0a1b2c", "fault": None}),
)
def prove_audit(service: ServiceParts, caller: Admin) -> TrailProof:
    """Prove that no entry was changed, removed or added, and that no older trail was put back."""
    require_every_site(caller)
    guard = service.database.guard
    if guard is None:
        raise ServiceError("unavailable")
    try:
        end = prove_trail(service.database, guard, service.audit)
    except (TrailBrokenError, CounterMissingError, CounterBrokenError) as error:
        return TrailProof(ok=False, entries=None, end=None, fault=str(error))
    return TrailProof(ok=True, entries=end.entries, end=f"{end.seq}:{end.mac}", fault=None)


@router.get(
    "/settings",
    summary="Read the settings in force",
    responses=problems(*AUTH_CODES)
    | _answers({"items": [{"name": "port", "value": "8000", "is_default": True}], "restored": []}),
)
def read_settings(service: ServiceParts, caller: Admin) -> SettingList:
    """Read what this process was started with. Secrets are not shown."""
    require_every_site(caller)
    settings, guard = service.settings, service.database.guard
    names = sorted(Settings.model_fields)
    restored = () if guard is None else guard.counter.read().restored
    return SettingList(items=tuple(_setting(settings, name) for name in names), restored=restored)


def _setting(settings: Settings, name: str) -> SettingView:
    value = getattr(settings, name)
    is_secret = isinstance(value, SecretStr)
    shown = None if is_secret else _WITH_PASSWORD.sub("", "" if value is None else str(value))
    return SettingView(name=name, value=shown, is_default=name not in settings.model_fields_set)


def _key(session: Session, key: ApiKeyRow, now: float) -> KeyView:
    ends = key.revoked_at or key.expires_at
    return KeyView(
        prefix=key.prefix,
        name=key.name,
        role=Role(key.role),
        clinical=key.clinical,
        site=key.site,
        works=is_valid(session, key, now),
        created_at=moment(key.created_at),
        last_used_at=None if key.last_used_at is None else moment(key.last_used_at),
        ends_at=None if ends is None else moment(ends),
    )


def _note(
    service: Service, session: Session, caller: Caller, kind: str, name: str, detail: dict[str, str | int]
) -> None:
    actor = Actor(caller.kind, caller.name, caller.role, caller.address)
    service.audit.append(session, AuditEvent(actor, Action.SECURE, object_kind=kind, object_id=name, detail=detail))
