"""Sessions of browsers: begun by a key or a one-time link, kept as digests, ended by time, by hand, or with their key.

The cookie holds ``ID.SECRET``. What a session may do stands in no row of its own: it is read from its key each time.
"""

import hashlib
import secrets
from dataclasses import dataclass, field

import structlog
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.storage.database import Database, db_now, now_of
from med3d_service.storage.guard import is_genuine
from med3d_service.storage.same_secret import is_same_secret
from med3d_service.storage.tables import ApiKeyRow
from med3d_service.trust.access.api_keys import UnknownKeyError, find_key, is_valid, person_key, person_prefix
from med3d_service.trust.access.roles import Role
from med3d_service.trust.access.session_tables import SessionRow, SignInLinkRow
from med3d_service.trust.access.tokens import Bearer

log = structlog.get_logger()
COOKIE = "med3d_session"
TOKEN_HEADER = "x-csrf-token"  # noqa: S105 - a header's name
BY_ITSELF_HEADER = "x-by-itself"
"""Sent by our scripts with what nobody asked for: a page that keeps itself up to date."""
LINK_VALID_S = 3600.0
USE_NOTED_EVERY_S = 60.0


@dataclass(frozen=True)
class OpenSession:
    """A session that a cookie opens. ``form_token`` stands in every form of its pages: other sites cannot know it."""

    id: str
    key: ApiKeyRow
    form_token: str = field(repr=False)


@dataclass(frozen=True)
class BegunSession:
    """A new session; ``cookie`` is what the browser is given."""

    id: str
    key: ApiKeyRow
    cookie: str = field(repr=False)


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._idle_s, self._longest_s = settings.session_idle_s, settings.session_longest_s

    def find(self, cookie: str, *, is_use: bool = True) -> OpenSession:
        """Find the session that a cookie opens. Raises ServiceError("session_over").

        is_use: somebody is there. What a page asks by itself keeps no session open that nobody uses any more.
        """
        session_id, _, secret = cookie.partition(".")
        with self._database.read() as session:
            row = session.get(SessionRow, session_id)
            key = None if row is None else session.get(ApiKeyRow, row.key_prefix)
            now = now_of(session)
            known = row is not None and is_same_secret(row.secret_sha256, _digest(secret))
            if row is None or key is None or not known or not self._lives(row, now):
                raise ServiceError("session_over")
            if not is_genuine(session, row) or not is_valid(session, key, now):
                raise ServiceError("session_over")
        if is_use and now - row.used_at >= USE_NOTED_EVERY_S:
            self._note_use(row.id)
        return OpenSession(row.id, key, form_token_of(secret))

    def begin_by_key(self, text: str) -> BegunSession:
        """Begin a session of who holds the key ``text``. Raises ServiceError: invalid_key, wrong_scope."""
        key = find_key(self._database, text)
        if key is None:
            raise ServiceError("invalid_key")
        with self._database.write() as session:
            return self._begun(session, key)

    def begin_by_link(self, code: str) -> BegunSession:
        """Begin a session by a link, which is spent by that. Raises ServiceError("link_spent")."""
        with self._database.write() as session:
            now = now_of(session)
            fresh = (
                SignInLinkRow.code_sha256 == _digest(code),
                SignInLinkRow.used_at.is_(None),
                SignInLinkRow.expires_at > now,
            )
            spent = session.execute(
                update(SignInLinkRow).where(*fresh).values(used_at=now).returning(SignInLinkRow.key_prefix)
            ).scalar_one_or_none()
            link = session.get(SignInLinkRow, _digest(code))
            key = None if spent is None else session.get(ApiKeyRow, spent)
            if link is None or key is None or not is_genuine(session, link) or not is_valid(session, key, now):
                raise ServiceError("link_spent")
            return self._begun(session, key)

    def begin_by_person(self, issuer: str, bearer: Bearer) -> BegunSession:
        """Begin a session of whom an OpenID issuer names; those with what the person might before end.

        Raises ServiceError("invalid_key") where an administrator has shut the person out.
        """
        with self._database.write() as session:
            try:
                key = person_key(session, issuer, bearer.subject, bearer.name, bearer.grant)
            except UnknownKeyError as error:
                raise ServiceError("invalid_key") from error
            theirs = SessionRow.key_prefix.startswith(person_prefix(issuer, bearer.subject), autoescape=True)
            other = theirs & (SessionRow.key_prefix != key.prefix) & SessionRow.ended_at.is_(None)
            session.execute(update(SessionRow).where(other).values(ended_at=db_now()))
            return self._begun(session, key)

    def end(self, session_id: str) -> None:
        """End one session."""
        self._end(SessionRow.id == session_id)

    def end_all_of(self, key_prefix: str) -> None:
        """End every session of a key."""
        self._end(SessionRow.key_prefix == key_prefix)

    def _end(self, which: object) -> None:
        with self._database.write() as session:
            still = update(SessionRow).where(which, SessionRow.ended_at.is_(None))  # type: ignore[arg-type]
            session.execute(still.values(ended_at=db_now()))

    def _begun(self, session: Session, key: ApiKeyRow) -> BegunSession:
        if not Role(key.role).is_for_people:
            raise ServiceError("wrong_scope", f"A key of the role {key.role} opens no pages; they take a person's.")
        now = now_of(session)
        session_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        session.add(
            SessionRow(
                id=session_id,
                secret_sha256=_digest(secret),
                key_prefix=key.prefix,
                created_at=now,
                used_at=now,
                expires_at=now + self._longest_s,
            )
        )
        return BegunSession(session_id, key, f"{session_id}.{secret}")

    def _lives(self, row: SessionRow, now: float) -> bool:
        return row.ended_at is None and now < row.expires_at and now < row.used_at + self._idle_s

    def _note_use(self, session_id: str) -> None:
        try:
            with self._database.write() as session:
                session.execute(update(SessionRow).where(SessionRow.id == session_id).values(used_at=db_now()))
        except OperationalError as error:  # a full disk must not lock out those who could mend it
            log.warning("session_use_not_noted", kind=type(error).__name__)


@dataclass(frozen=True)
class MadeLink:
    """A new link; ``code`` is shown once."""

    code: str = field(repr=False)
    expires_at: float


def make_link(session: Session, key_prefix: str) -> MadeLink:
    """Make a one-time code that begins a session of a key; the database keeps its digest."""
    code = secrets.token_urlsafe(32)
    now = now_of(session)
    expires_at = now + LINK_VALID_S
    digest = _digest(code)
    session.add(SignInLinkRow(code_sha256=digest, key_prefix=key_prefix, created_at=now, expires_at=expires_at))
    return MadeLink(code, expires_at)


def cookie_name(scope: Scope) -> str:
    """Name the session's cookie: browsers keep one jar for all ports of a host, so that the port is part of it.

    Over TLS the prefix lets browsers take it from this very host alone (RFC 6265bis 4.1.3.2).
    """
    if scope.get("scheme") == "https":
        return f"__Host-{COOKIE}"
    server = scope.get("server")
    return f"{COOKIE}_{server[1] if server and server[1] else 0}"


def cookie_of(scope: Scope) -> str | None:
    """Read the session's cookie of a request."""
    text = Headers(raw=scope.get("headers", [])).get("cookie")
    return None if text is None else cookie_parser(text).get(cookie_name(scope))


def form_token_of(secret: str) -> str:
    """Derive what the forms of a session carry from its cookie's secret."""
    return hashlib.sha256(f"form\0{secret}".encode()).hexdigest()


def _digest(text: str) -> str:
    # The secret has 256 random bits, so a slow hash would add nothing.
    return hashlib.sha256(text.encode()).hexdigest()
