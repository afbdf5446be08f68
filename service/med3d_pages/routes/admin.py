"""The pages of administrators: keys, sessions, settings; and the audit trail, searched and proven."""

import hashlib
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from med3d_pages.addresses import PREFIX
from med3d_pages.forms import Fields, SessionForm
from med3d_pages.rendering import render, texts_for
from med3d_service.api.http.pages import Cursor
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.trust.administration import (
    KeyReplacement,
    KeyRequest,
    NewKey,
    end_session,
    list_api_keys,
    list_sessions,
    make_api_key,
    prove_audit,
    read_settings,
    revoke_api_key,
    rotate_api_key,
    search_audit,
)
from med3d_service.api.service import Service
from med3d_service.problems import ServiceError
from med3d_service.trust.access import Admin, Caller, Role
from med3d_service.trust.access.api_keys import OF_A_PERSON
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.audit.events import Action
from med3d_service.trust.audit.routes import RecordsItself

router = APIRouter(include_in_schema=False)
PAGE, AUDIT = f"{PREFIX}/admin", f"{PREFIX}/admin/audit"
Text = Annotated[str, Query(max_length=100)]
ON_A_PAGE = 50


@router.get(PAGE)
def show_administration(request: Request, service: ServiceParts, caller: Admin) -> HTMLResponse:
    """Show keys, sessions and settings."""
    return _page(request, service, caller, None)


def _page(request: Request, service: Service, caller: Caller, made: NewKey | None) -> HTMLResponse:
    settings = read_settings(service, caller) if caller.every_site else None
    keys = list_api_keys(service, caller).items
    return render(
        request,
        "admin.html",
        keys=keys,
        shown=_digest_of([one.prefix for one in keys]),
        sessions=list_sessions(service, caller).items,
        settings=settings.items if settings else (),
        restored=settings.restored if settings else (),
        roles=[role for role in Role if caller.every_site or role is not Role.WORKER],
        own=caller.prefix,
        made=made,
    )


def _digest_of(prefixes: Sequence[str]) -> str:
    """Name the keys that a page shows: a form that is sent again, as by a reload, was drawn before its own key was."""
    # A person's comes with each sign-in.
    of_programs = sorted(prefix for prefix in prefixes if not prefix.startswith(OF_A_PERSON))
    return hashlib.sha256(" ".join(of_programs).encode()).hexdigest()[:32]


def _is_sent_again(service: Service, caller: Caller, fields: Fields) -> bool:
    return fields["shown"] != _digest_of([one.prefix for one in list_api_keys(service, caller).items])


@router.post(f"{PAGE}/keys", dependencies=[TokenInForm, RecordsItself])
def make_key(request: Request, service: ServiceParts, caller: Admin, fields: SessionForm) -> Response:
    """Make a key, and show it on the page that answers, which no browser keeps; a reload makes none."""
    if _is_sent_again(service, caller, fields):
        return RedirectResponse(f"{PAGE}#keys", 303)
    said = {name: fields[name] for name in ("role", "name", "site")} | {"clinical": bool(fields["clinical"])}
    try:
        wanted = KeyRequest.model_validate(said | {"days": int(fields["days"]) if fields["days"] else None})
    except (ValidationError, ValueError) as error:
        raise ServiceError("invalid_request", texts_for(request)("admin.key_refused")) from error
    return _page(request, service, caller, make_api_key(wanted, service, caller))


@router.post(f"{PAGE}/keys/rotate", dependencies=[TokenInForm, RecordsItself])
def rotate_key(request: Request, service: ServiceParts, caller: Admin, fields: SessionForm) -> Response:
    """Replace a key, which goes on working for a day, and show the new one on the page that answers, once."""
    if _is_sent_again(service, caller, fields):
        return RedirectResponse(f"{PAGE}#keys", 303)
    made = rotate_api_key(fields["prefix"], KeyReplacement(), service, caller)
    return _page(request, service, caller, made)


@router.post(f"{PAGE}/keys/revoke", dependencies=[TokenInForm, RecordsItself])
def revoke_key(service: ServiceParts, caller: Admin, fields: SessionForm) -> Response:
    """Revoke a key."""
    revoke_api_key(fields["prefix"], service, caller)
    return RedirectResponse(f"{PAGE}#keys", 303)


@router.post(f"{PAGE}/sessions/end", dependencies=[TokenInForm, RecordsItself])
def sign_out_other(request: Request, service: ServiceParts, caller: Admin, fields: SessionForm) -> Response:
    """End somebody's session."""
    end_session(fields["session"], request, service, caller)
    return RedirectResponse(f"{PAGE}#sessions", 303)


@router.get(AUDIT)
def show_audit(
    request: Request,
    service: ServiceParts,
    caller: Admin,
    who: Text = "",
    what: Text = "",
    about: Text = "",
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show entries of the trail, the newest first."""
    found = search_audit(service, caller, who, what, about, ON_A_PAGE, cursor)
    wanted = {name: text for name, text in (("who", who), ("what", what), ("about", about)) if text}
    older = found.next_cursor and f"{AUDIT}?{urlencode(wanted | {'cursor': found.next_cursor})}"
    newest = f"{AUDIT}?{urlencode(wanted)}" if cursor else None
    return render(
        request,
        "audit.html",
        entries=found.items,
        wanted=wanted,
        actions=list(Action),
        older=older,
        newest=newest,
        proof=None,
    )


@router.post(AUDIT, dependencies=[TokenInForm])
def prove(request: Request, service: ServiceParts, caller: Admin, _fields: SessionForm) -> HTMLResponse:
    """Prove the trail, and say so above its newest entries."""
    proof = prove_audit(service, caller)
    found = search_audit(service, caller, "", "", "", ON_A_PAGE, None)
    return render(
        request,
        "audit.html",
        entries=found.items,
        wanted={},
        actions=list(Action),
        older=None,
        newest=AUDIT,
        proof=proof,
    )
