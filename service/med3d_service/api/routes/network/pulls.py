"""Pulls: asking for one, listing, reading."""

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy import select

from med3d_contract.results import Frozen
from med3d_service.api.http.pages import Cursor, Limit, cut, newest_first
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.service import Service
from med3d_service.network.pulls.line import ASKED, Origin
from med3d_service.network.pulls.states import PullStatus
from med3d_service.network.pulls.tables import PullRow
from med3d_service.network.pulls.views import PullView, pull_view
from med3d_service.network.pulls.wanted import PullRequest
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.trust.access import Caller, Submitter, Viewer
from med3d_service.trust.audit.requests import note_shown

router = APIRouter(tags=["pulls"])
MAX_BODY_BYTES = 16 * 1024

BODY: dict[str, Any] = {
    "schema": PullRequest.model_json_schema(ref_template="#/components/schemas/{model}"),
    "example": {"source": "dicomweb", "peer": "archive", "accession": "A-2026-0042"},
}


def _example(value: Any, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": value}}}


class PullLinks(Frozen):
    """Where to go on."""

    pull: str


class PullTaken(Frozen):
    """The service will fetch it."""

    pull_id: str
    status: PullStatus
    links: PullLinks


class PullPage(Frozen):
    """Pulls, newest first."""

    items: tuple[PullView, ...]
    next_cursor: str | None


@router.post(
    "/pulls",
    status_code=202,
    summary="Have studies fetched from a peer",
    responses=problems("unknown_peer", "upload_too_large", *AUTH_CODES)
    | {
        200: {"model": PullTaken} | _example(examples.PULL_TAKEN, "Such a pull waits already: its id"),
        202: _example(examples.PULL_TAKEN, "They will be fetched"),
    },
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": BODY}}},
)
async def ask_for_pull(request: Request, response: Response, service: ServiceParts, caller: Submitter) -> PullTaken:
    """Fetch a study, or the studies that a search finds, from a peer that the operator has configured.

    It is done in the background, and each study is run when it has come. To ask by a patient's ID, an accession number
    or a search takes the clinical grant: what comes tells whether the peer knows the patient.
    """
    wanted = await _read_request(request)
    pull, known = await to_thread.run_sync(put_in_line, service, caller, wanted)
    response.status_code = 200 if known else 202
    response.headers["Location"] = pull.links.pull
    note_shown(request, "pull", [pull.pull_id])
    return pull


async def _read_request(request: Request) -> PullRequest:
    """Read and judge the JSON body. Raises RequestValidationError, ServiceError("upload_too_large")."""
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > MAX_BODY_BYTES:
            raise ServiceError("upload_too_large")
    try:
        return PullRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error


def put_in_line(service: Service, caller: Caller, wanted: PullRequest) -> tuple[PullTaken, bool]:
    """Put a pull into the line; returns it and whether it waited there already.

    Raises ServiceError with unknown_peer, or wrong_scope where it takes the clinical grant to ask so.
    """
    if wanted.study_uid is None and not caller.clinical:
        raise ServiceError(
            "wrong_scope",
            "To have studies fetched by patient ID, accession number or search takes the clinical grant; by "
            "study_uid it does not.",
        )
    peers = service.peers.of_site(caller.only_site)
    if wanted.source == "dicomweb":
        peers.dicomweb_peer(wanted.peer)
    else:
        peers.dimse_peer(wanted.peer)
    origin = Origin(site=caller.site, kind="request", source=wanted.source, peer=wanted.peer)
    with service.database.write() as session:
        pull, known = service.pulls.ask(session, origin, wanted.wanted(), urgency=ASKED)
        return PullTaken(
            pull_id=pull.id, status=PullStatus(pull.status), links=PullLinks(pull=f"/pulls/{pull.id}")
        ), known


@router.get(
    "/pulls",
    summary="List pulls, newest first",
    responses=problems("invalid_cursor", *AUTH_CODES)
    | {200: _example({"items": [examples.PULL], "next_cursor": None}, "A page of pulls")},
)
def list_pulls(service: ServiceParts, caller: Viewer, limit: Limit = 50, cursor: Cursor = None) -> PullPage:
    """List what was asked for; the finds of a search stand within it."""
    query = select(PullRow).where(caller.sees(PullRow.site), PullRow.parent_id.is_(None))
    with service.database.read() as session:
        found = session.scalars(newest_first(query, PullRow.seq, limit, cursor)).all()
        rows, next_cursor = cut(found, limit, lambda row: row.seq)
        items = tuple(pull_view(session, row) for row in rows)
    return PullPage(items=items, next_cursor=next_cursor)


@router.get(
    "/pulls/{pull_id}",
    summary="Read a pull",
    responses=problems("unknown_pull", *AUTH_CODES) | {200: _example(examples.PULL, "The pull")},
)
def read_pull(pull_id: str, service: ServiceParts, caller: Viewer) -> PullView:
    """Read one pull: where it stands, why it waits, and its studies."""
    with service.database.read() as session:
        pull = session.scalars(select(PullRow).where(PullRow.id == pull_id, caller.sees(PullRow.site))).first()
        if pull is None:
            raise ServiceError("unknown_pull")
        return pull_view(session, pull)
