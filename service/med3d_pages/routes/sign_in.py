"""Signing in by a one-time link or a key, and out again. Every session's beginning and end is in the audit trail."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from med3d_pages.addresses import PREFIX
from med3d_pages.forms import (
    BEFORE_COOKIE,
    FirstForm,
    SessionForm,
    first_token,
    is_of_this_browser,
    new_before,
    own_target,
)
from med3d_pages.rendering import render
from med3d_service.api.routes import ServiceParts
from med3d_service.api.service import Service
from med3d_service.problems import ServiceError
from med3d_service.trust.access import Viewer
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.access.sessions import BegunSession, Sessions, cookie_name
from med3d_service.trust.audit.events import NOBODY, Action, Actor, AuditEvent, Outcome
from med3d_service.trust.audit.routes import RecordsItself, Unaudited

router = APIRouter(include_in_schema=False)
Target = Annotated[str | None, Query(max_length=500)]


@router.get(f"{PREFIX}/sign-in", dependencies=[Unaudited])
def show_form(request: Request, to: Target = None, over: str = "", unsent: str = "") -> HTMLResponse:
    """Show the form for a key."""
    return _form(request, to, "session_over" if over else None, was_sent=bool(unsent))


@router.post(f"{PREFIX}/sign-in", dependencies=[RecordsItself])
def sign_in(request: Request, service: ServiceParts, fields: FirstForm) -> Response:
    """Begin a session of who holds the key in the form."""
    if not is_of_this_browser(request, fields):
        return _form(request, fields["to"], "not_from_our_page", 403)
    sessions: Sessions = request.app.state.gate.sessions
    try:
        made = sessions.begin_by_key(fields["key"])
    except ServiceError as error:
        return refused(request, service, fields["to"], error)
    return begun(request, service, made, fields["to"], "signed_in_by_key")


@router.get(f"{PREFIX}/enter", dependencies=[RecordsItself])
def enter(
    request: Request, service: ServiceParts, code: Annotated[str, Query(max_length=100)] = "", to: Target = None
) -> Response:
    """Begin a session by a one-time link."""
    sessions: Sessions = request.app.state.gate.sessions
    try:
        made = sessions.begin_by_link(code)
    except ServiceError as error:
        return refused(request, service, to, error)
    return begun(request, service, made, to, "signed_in_by_link")


@router.post(f"{PREFIX}/sign-out", dependencies=[TokenInForm, RecordsItself])
def sign_out(request: Request, service: ServiceParts, caller: Viewer, fields: SessionForm) -> Response:
    """End this session, or with ``everywhere`` all of its key."""
    sessions: Sessions = request.app.state.gate.sessions
    prefix, _, session_id = caller.name.partition(".")
    if fields["everywhere"]:
        sessions.end_all_of(prefix)
    else:
        sessions.end(session_id)
    what = "signed_out_everywhere" if fields["everywhere"] else "signed_out"
    _record(service, Actor(caller.kind, caller.name, caller.role, caller.address), what)
    answer = RedirectResponse(f"{PREFIX}/sign-in", 303)
    answer.delete_cookie(cookie_name(request.scope), secure=request.url.scheme == "https", httponly=True)
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


def _form(
    request: Request, to: str | None, code: str | None, status: int = 200, *, was_sent: bool = False
) -> HTMLResponse:
    before = request.cookies.get(BEFORE_COOKIE) or new_before()
    values = {
        "to": own_target(to),
        "first_token": first_token(before),
        "code": code,
        "was_sent": was_sent,
        "by_provider": request.app.state.gate.openid is not None,
    }
    answer = render(request, "sign_in.html", status=status, **values)
    _set_cookie(request, answer, BEFORE_COOKIE, before)
    return answer


def refused(request: Request, service: Service, to: str | None, error: ServiceError) -> Response:
    """Ask again; who guesses is slowed down, and stands in the trail (of each 401 the API itself makes an entry)."""
    address = _address(request)
    request.app.state.gate.throttle.note_failure(address)
    if error.status != 401:
        _record(service, Actor(NOBODY, "", address=address), error.code, Outcome.DENIED)
    return _form(request, to, error.code, error.status)


def begun(request: Request, service: Service, made: BegunSession, to: str | None, what: str) -> Response:
    """Hand the cookie over on a page that goes on by itself: a redirect from another site would come without it."""
    actor = Actor("session", f"{made.key.prefix}.{made.id}", made.key.role, _address(request))
    _record(service, actor, what)
    answer = render(request, "entered.html", to=own_target(to))
    _set_cookie(request, answer, cookie_name(request.scope), made.cookie)
    return answer


def _set_cookie(request: Request, answer: Response, name: str, value: str) -> None:
    """Set it for this host and until the browser is closed; no script reads it, no other site sends it."""
    answer.set_cookie(name, value, path="/", httponly=True, samesite="strict", secure=request.url.scheme == "https")


def _record(service: Service, actor: Actor, what: str, outcome: Outcome = Outcome.DONE) -> None:
    service.audit.record(AuditEvent(actor, Action.ENTER, outcome, "session", detail={"what": what}))


def _address(request: Request) -> str:
    return request.client.host if request.client else "local"
