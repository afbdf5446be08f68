"""From the Authorization header to a caller with a role: the types by which routes say whom they take."""

from collections.abc import Callable, Sequence
from typing import Annotated, get_type_hints

import structlog
from fastapi import Request, Security
from fastapi.params import Security as SecurityMark
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers
from starlette.types import Scope

from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.tables import ApiKeyRow
from med3d_service.trust.access.api_keys import MARK, USE_NOTED_EVERY_S, find_key, note_use
from med3d_service.trust.access.openid import OpenIdSignIn
from med3d_service.trust.access.own_pages import require_own_page
from med3d_service.trust.access.roles import CLINICAL, EVERY_SITE, SESSION, Caller, Grant, Role
from med3d_service.trust.access.sessions import BY_ITSELF_HEADER, Sessions, cookie_of
from med3d_service.trust.access.throttle import Throttle
from med3d_service.trust.access.tokens import TokenVerifier

log = structlog.get_logger()


class Gate:
    """Finds out who calls. One per API process, in ``app.state.gate``."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        tokens: TokenVerifier | None = None,
        openid: OpenIdSignIn | None = None,
    ) -> None:
        self._database, self._own_site = database, settings.site
        if tokens is None and settings.oidc_issuer is not None:
            tokens = TokenVerifier(settings)
        self._tokens = tokens
        if openid is None and settings.oidc_client_id is not None:
            openid = OpenIdSignIn(settings)
        self.openid = openid
        self.throttle = Throttle(settings)
        self.sessions = Sessions(database, settings)

    def caller(self, credentials: str | None, address: str) -> Caller:
        """Find who holds a key or a token. Raises ServiceError: missing_key, invalid_key, and as TokenVerifier."""
        if credentials is None:
            raise ServiceError("missing_key")
        if not credentials.startswith(MARK) and self._tokens is not None:
            bearer = self._tokens.verify(credentials)
            return self._made("token", bearer.subject, bearer.grant, address)
        key = find_key(self._database, credentials)
        if key is None:
            raise ServiceError("invalid_key")
        self._note_use(key)
        return self._made("key", key.prefix, Grant(Role(key.role), key.clinical, key.site), address)

    def who_calls(self, scope: Scope, authorization: str) -> Caller:
        """Find who calls: by the Authorization header, else by the session's cookie.

        Raises as ``caller`` does; session_over where a cookie opens nothing; not_from_our_page.
        """
        scheme, _, credentials = authorization.partition(" ")
        client = scope.get("client")
        address = client[0] if client else "local"
        cookie = None if authorization else cookie_of(scope)
        if cookie is None:
            return self.caller(credentials.strip() if scheme.lower() == "bearer" else None, address)
        opened = self.sessions.find(cookie, is_use=BY_ITSELF_HEADER not in Headers(raw=scope.get("headers", [])))
        require_own_page(scope, opened.form_token)
        scope.setdefault("state", {})["form_token"] = opened.form_token
        key = opened.key
        name = f"{key.prefix}.{opened.id}"
        return self._made(SESSION, name, Grant(Role(key.role), key.clinical, key.site), address)

    def still_admits(self, scope: Scope, authorization: str) -> bool:
        """Tell whether the key or token of a request that goes on and on still opens something, to the same caller."""
        try:
            known: Caller = scope["state"]["caller"]
            return self.who_calls(scope, authorization) == known
        except ServiceError as error:
            return error.status != 401  # an issuer that is away has revoked nothing

    def _made(self, kind: str, name: str, grant: Grant, address: str) -> Caller:
        every_site = grant.site == EVERY_SITE
        site = self._own_site if every_site else grant.site
        return Caller(kind, name, grant.role, grant.clinical, site, every_site, address)

    def _note_use(self, key: ApiKeyRow) -> None:
        now = self._database.now()
        if key.last_used_at is not None and now - key.last_used_at < USE_NOTED_EVERY_S:
            return
        try:
            note_use(self._database, key.prefix)
        except OperationalError as error:  # a full disk must not lock out those who could mend it
            log.warning("key_use_not_noted", kind=type(error).__name__)


_bearer = HTTPBearer(auto_error=False, description="An API key or an OpenID Connect token: Authorization: Bearer ...")


def _admitted(
    needs: SecurityScopes,
    request: Request,
    _credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],  # for the OpenAPI document
) -> Caller:
    """Give the caller whom the door found. It has judged by the same words; a route is not left to the door alone."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        raise ServiceError("missing_key")
    require(caller, needs.scopes)
    return caller


def require(caller: Caller, needs: Sequence[str]) -> None:
    """Let pass who has the role (and the grant) of ``needs``. Raises ServiceError("wrong_scope")."""
    for need in needs:
        if need == CLINICAL and not caller.clinical:
            raise ServiceError("wrong_scope", "This shows who a patient is, which takes the clinical grant.")
        if need != CLINICAL and not caller.role.covers(Role(need)):
            raise ServiceError("wrong_scope", f"This takes the role {need}; the caller's is {caller.role}.")


def needs_of(endpoint: Callable[..., object]) -> tuple[str, ...] | None:
    """Read from a route's parameters which role and grant it takes; None where it takes anybody."""
    for hint in get_type_hints(endpoint, include_extras=True).values():
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, SecurityMark) and mark.dependency is _admitted:
                return tuple(mark.scopes or ())
    return None


Scraper = Annotated[Caller, Security(_admitted, scopes=[Role.METRICS])]
Viewer = Annotated[Caller, Security(_admitted, scopes=[Role.VIEWER])]
Submitter = Annotated[Caller, Security(_admitted, scopes=[Role.SUBMITTER])]
Operator = Annotated[Caller, Security(_admitted, scopes=[Role.OPERATOR])]
Admin = Annotated[Caller, Security(_admitted, scopes=[Role.ADMIN])]
Clinical = Annotated[Caller, Security(_admitted, scopes=[Role.VIEWER, CLINICAL])]
Worker = Annotated[Caller, Security(_admitted, scopes=[Role.WORKER])]
