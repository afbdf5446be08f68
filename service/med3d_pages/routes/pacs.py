"""The page of the PACS: what arrived and why there is no run, peers, rules, and what could not be delivered."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from med3d_pages.addresses import PREFIX
from med3d_pages.forms import SessionForm
from med3d_pages.rendering import render, texts_for
from med3d_pages.rules_view import RuleAnswer, TypedSeries, try_rules
from med3d_service.api.http.pages import Cursor
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.network.arrivals import ArrivalCursor, list_arrivals
from med3d_service.api.routes.network.peers import PeerCheckRequest, check_peer, list_peers
from med3d_service.api.routes.network.pulls import list_pulls, put_in_line
from med3d_service.api.routes.results.deliveries import list_deliveries, retry
from med3d_service.api.service import Service
from med3d_service.network.pulls.wanted import PullRequest
from med3d_service.results.delivery.states import DeliveryStatus
from med3d_service.studies.arrivals.routing import InvalidRulesError, load_rules
from med3d_service.trust.access import Caller, Operator, Submitter, Viewer
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.audit.requests import note_shown
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Query(max_length=200)]
ARRIVALS, DELIVERIES, PULLS = 25, 15, 10
PAGE = f"{PREFIX}/pacs"
KINDS = (DeliveryStatus.DEAD, DeliveryStatus.WAITING)


@router.get(PAGE, dependencies=[Unaudited])
def show_pacs(
    request: Request,
    service: ServiceParts,
    caller: Viewer,
    cursor: ArrivalCursor = None,
    more: Cursor = None,
    modality: Text = "",
    description: Text = "",
    body_part: Text = "",
    sender: Text = "",
    age: Text = "",
) -> HTMLResponse:
    """Show arrivals, pulls, peers, deliveries and rules. No patient is named."""
    typed = TypedSeries(modality or "MR", description, body_part, sender, age)
    tried = any((modality, description, body_part, sender, age))
    answer = _answer(request, service, typed) if tried else None
    return _page(request, service, caller, cursor=cursor, more=more, typed=typed, answer=answer)


def _page(
    request: Request,
    service: Service,
    caller: Caller,
    *,
    cursor: str | None = None,
    more: str | None = None,
    status: int = 200,
    **shown_too: Any,
) -> HTMLResponse:
    arrivals = list_arrivals(service, caller, ARRIVALS, cursor)
    dead = list_deliveries(service, caller, DeliveryStatus.DEAD, None, DELIVERIES, more)
    waiting = list_deliveries(service, caller, DeliveryStatus.WAITING, None, DELIVERIES, None)
    given = {"typed": TypedSeries("MR", "", "", "", ""), "answer": None, "wanted": "", "pull_fault": ""} | shown_too
    return render(
        request,
        "pacs.html",
        status=status,
        arrivals=arrivals,
        older=arrivals.next_cursor and f"{PAGE}?cursor={quote(arrivals.next_cursor)}#arrivals",
        newest=PAGE if cursor else None,
        dead=dead,
        more_dead=dead.next_cursor and f"{PAGE}?more={quote(dead.next_cursor)}#deliveries",
        waiting=waiting,
        peers=list_peers(request, service, caller).items,
        pulls=list_pulls(service, caller, PULLS, None).items,
        **given,
    )


def _answer(request: Request, service: Service, typed: TypedSeries) -> RuleAnswer | str:
    """Judge what was typed; a sentence where the rules' file cannot be used."""
    try:
        return try_rules(load_rules(service.settings.rules_file), typed, texts_for(request))
    except InvalidRulesError as error:
        return str(error)


@router.post(f"{PAGE}/deliveries/{{delivery_id}}/retry", dependencies=[TokenInForm])
def send_again(delivery_id: str, service: ServiceParts, caller: Operator, _fields: SessionForm) -> Response:
    """Send a delivery again."""
    retry(delivery_id, service, caller)
    return RedirectResponse(f"{PAGE}#deliveries", 303)


@router.post(f"{PAGE}/pulls", dependencies=[TokenInForm])
def fetch_study(request: Request, service: ServiceParts, caller: Submitter, fields: SessionForm) -> Response:
    """Have a study fetched from a peer. What cannot be asked for is shown, with what was typed."""
    source, _, peer = fields["peer"].partition(":")
    by = "study_uid" if fields["by"] == "study_uid" else "accession"
    try:
        wanted = PullRequest.model_validate({"source": source, "peer": peer, by: fields["wanted"]})
    except ValidationError:
        fault = texts_for(request)(f"pulls.fault.{by}")
        return _page(request, service, caller, status=422, wanted=fields["wanted"], pull_fault=fault)
    taken, _ = put_in_line(service, caller, wanted)
    note_shown(request, "pull", [taken.pull_id])
    return RedirectResponse(f"{PAGE}#pulls", 303)


@router.post(f"{PAGE}/peers", dependencies=[TokenInForm])
def look_at_peer(request: Request, service: ServiceParts, caller: Operator, fields: SessionForm) -> Response:
    """Look at a peer now."""
    check_peer(PeerCheckRequest(peer=fields["peer"][:64]), request, service, caller)
    return RedirectResponse(f"{PAGE}#peers", 303)
