"""Keys and sessions as an administrator sees them: those of the administrator's own site, or all."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_service.problems import ServiceError
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import ApiKeyRow
from med3d_service.trust.access.api_keys import MadeKey, UnknownKeyError, create_key, list_keys, revoke_key, rotate_key
from med3d_service.trust.access.roles import EVERY_SITE, Caller, Grant, Role
from med3d_service.trust.access.session_tables import SessionRow

MOST_SESSIONS = 100


def require_every_site(caller: Caller) -> None:
    """Let pass who sees all sites: the trail and the settings are of all of them. Raises ServiceError."""
    if not caller.every_site:
        raise ServiceError("wrong_scope", "This is of all sites, and the caller's key is of one.")


def keys_seen_by(session: Session, caller: Caller) -> list[ApiKeyRow]:
    """Return the keys of the caller's site, or all, the newest first."""
    return [key for key in list_keys(session) if caller.every_site or key.site == caller.site]


def make_key(session: Session, caller: Caller, grant: Grant, *, name: str, valid_s: float | None) -> MadeKey:
    """Make a key that may no more than its maker. Raises ServiceError("wrong_scope")."""
    if grant.clinical and not caller.clinical:
        raise ServiceError("wrong_scope", "Who may not see who a patient is makes no key that may.")
    if not caller.every_site and grant.site != caller.site:
        raise ServiceError("wrong_scope", "The caller's key is of one site, and so are the keys that it makes.")
    if grant.role is Role.WORKER and (grant.clinical or grant.site != EVERY_SITE):
        raise ServiceError("invalid_request", "A worker's key is of all sites, and never shows who a patient is.")
    if grant.clinical and not grant.role.is_for_people:
        raise ServiceError("invalid_request", f"A key of the role {grant.role} never shows who a patient is.")
    return create_key(session, grant, name=name, valid_s=valid_s)


def replace_key(session: Session, caller: Caller, prefix: str, *, overlap_s: float) -> MadeKey:
    """Make a key that grants what ``prefix`` does, which then ends. Raises ServiceError: unknown_key, wrong_scope."""
    key = next((one for one in keys_seen_by(session, caller) if one.prefix == prefix), None)
    if key is None:
        raise ServiceError("unknown_key")
    if key.clinical and not caller.clinical:
        raise ServiceError("wrong_scope", "Who may not see who a patient is makes no key that may.")
    try:
        return rotate_key(session, prefix, overlap_s=overlap_s)
    except UnknownKeyError as error:
        raise ServiceError("unknown_key") from error


def end_key(session: Session, caller: Caller, prefix: str) -> None:
    """End a key of the caller's site. Raises ServiceError("unknown_key")."""
    if prefix not in {key.prefix for key in keys_seen_by(session, caller)}:
        raise ServiceError("unknown_key")
    try:
        revoke_key(session, prefix)
    except UnknownKeyError as error:
        raise ServiceError("unknown_key") from error


def sessions_seen_by(session: Session, caller: Caller, idle_s: float) -> Sequence[SessionRow]:
    """Return the sessions that go on, of keys of the caller's site or of all, the one used last first."""
    now = now_of(session)
    query = (
        select(SessionRow)
        .join(ApiKeyRow, ApiKeyRow.prefix == SessionRow.key_prefix)
        .where(
            caller.sees(ApiKeyRow.site),
            SessionRow.ended_at.is_(None),
            SessionRow.expires_at > now,
            SessionRow.used_at > now - idle_s,
        )
    )
    return session.scalars(query.order_by(SessionRow.used_at.desc()).limit(MOST_SESSIONS)).all()
