"""Signing in at the hospital's OpenID provider: the way there, and the way back."""

from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from med3d_pages.addresses import PREFIX
from med3d_pages.forms import own_target
from med3d_pages.routes.sign_in import begun, refused
from med3d_service.api.routes import ServiceParts
from med3d_service.problems import ServiceError
from med3d_service.trust.access.openid import ATTEMPT_VALID_S, OpenIdSignIn
from med3d_service.trust.access.sessions import Sessions
from med3d_service.trust.audit.routes import RecordsItself, Unaudited

router = APIRouter(include_in_schema=False)
HERE = f"{PREFIX}/openid"
COOKIE = "med3d_attempt"
Sent = Annotated[str, Query(max_length=4096)]


@router.get(HERE, dependencies=[Unaudited])
def depart(request: Request, to: Annotated[str | None, Query(max_length=500)] = None) -> Response:
    """Send the browser to the provider, with a cookie that it must come back with."""
    departure = _openid(request).depart(_redirect_uri(request))
    answer = RedirectResponse(departure.address, 303, {"Cache-Control": "no-store"})
    # Lax: the way back comes from the provider's site. It opens nothing by itself, and no other page gets it.
    answer.set_cookie(
        COOKIE,
        f"{departure.secret}.{quote(own_target(to), safe='')}",
        max_age=ATTEMPT_VALID_S,
        path=HERE,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return answer


@router.get(f"{HERE}/back", dependencies=[RecordsItself])
def arrive(
    request: Request,
    service: ServiceParts,
    code: Sent = "",
    state: Sent = "",
    iss: Sent | None = None,
    error: Sent = "",
) -> Response:
    """Begin a session of whom the provider names; the cookie of the attempt is spent whatever comes of it."""
    openid, sessions = _openid(request), _sessions(request)
    secret, _, target = request.cookies.get(COOKIE, "").partition(".")
    to = own_target(unquote(target))
    told = {"code": code, "state": state, "error": error} | ({} if iss is None else {"iss": iss})
    try:
        bearer = openid.arrive(secret, told, _redirect_uri(request))
        answer = begun(request, service, sessions.begin_by_person(openid.issuer, bearer), to, "signed_in_by_openid")
    except ServiceError as problem:
        answer = refused(request, service, to, problem)
    answer.delete_cookie(COOKIE, path=HERE, secure=request.url.scheme == "https", httponly=True, samesite="lax")
    return answer


def _openid(request: Request) -> OpenIdSignIn:
    found: OpenIdSignIn | None = request.app.state.gate.openid
    if found is None:
        raise ServiceError("not_found")
    return found


def _sessions(request: Request) -> Sessions:
    found: Sessions = request.app.state.gate.sessions
    return found


def _redirect_uri(request: Request) -> str:
    """Write where the provider sends the browser back to: it takes only addresses that its client registered."""
    return f"{str(request.base_url).rstrip('/')}{HERE}/back"
