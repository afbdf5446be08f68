"""The pages of cohorts: which there are, and of one how far it is, what failed, and how well it was estimated."""

from pathlib import Path as FilePath
from typing import Annotated
from urllib.parse import quote
from zoneinfo import available_timezones

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from med3d_contract.cohorts import (
    MOST_ENTRIES,
    CohortChange,
    CohortDraft,
    MembersRequest,
    NightSchedule,
    ReprocessingRequest,
)
from med3d_pages.addresses import PREFIX
from med3d_pages.cohort_view import cohort_chart, shares
from med3d_pages.forms import SessionForm
from med3d_pages.member_table import read_members
from med3d_pages.rendering import render
from med3d_service.api.door import takes_up_to
from med3d_service.api.http.pages import Cursor
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.cohorts.cohort_progress import UNDER_WAY, read_progress
from med3d_service.api.routes.cohorts.cohorts import (
    CohortId,
    add_members,
    change_cohort,
    create_cohort,
    list_cohorts,
    read_cohort,
)
from med3d_service.api.routes.cohorts.reprocessing import begin, cancel, list_reprocessings, pause, resume
from med3d_service.api.service import Service
from med3d_service.cohorts.members import find_cohort
from med3d_service.cohorts.scatter import CohortScatter, cohort_scatter
from med3d_service.problems import ServiceError
from med3d_service.runs.bundles import find_bundle
from med3d_service.trust.access import Caller, Submitter, Viewer
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.audit.requests import shown

router = APIRouter(include_in_schema=False)
PAGE = f"{PREFIX}/cohorts"
ON_A_PAGE = 25
FOLLOWED_EVERY_S = 20
LARGEST_TABLE = 2 * 1024 * 1024
MOVES = {"pause": pause, "resume": resume, "cancel": cancel}
Move = Annotated[str, Path(pattern="^(begin|pause|resume|cancel)$")]


@router.get(PAGE)
def show_cohorts(request: Request, service: ServiceParts, caller: Viewer, cursor: Cursor = None) -> HTMLResponse:
    """Show the cohorts, the newest first."""
    found = list_cohorts(service, caller, ON_A_PAGE, cursor)
    shown(request, "cohort", [one.cohort_id for one in found.items])
    older = found.next_cursor and f"{PAGE}?cursor={quote(found.next_cursor)}"
    return render(request, "cohorts.html", cohorts=found.items, older=older, newest=PAGE if cursor else None)


@router.post(PAGE, dependencies=[TokenInForm])
def make_cohort(response: Response, service: ServiceParts, caller: Submitter, fields: SessionForm) -> Response:
    """Make a cohort, which has no members yet."""
    try:
        draft = CohortDraft(name=fields["name"])
    except ValidationError as error:
        raise ServiceError("invalid_request", "A cohort's name is of letters, digits, dots, - and _.") from error
    made = create_cohort(draft, response, service, caller)
    return RedirectResponse(f"{PAGE}/{made.cohort_id}", 303)


@router.get(f"{PAGE}/{{cohort}}")
def show_cohort(
    request: Request,
    cohort: CohortId,
    service: ServiceParts,
    caller: Viewer,
    added: Annotated[int | None, Query(ge=0)] = None,
    missing: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """Show one cohort."""
    view = read_cohort(cohort, service, caller)
    progress = read_progress(cohort, service, caller)
    scatter = _scatter(service, caller, cohort, progress.bundle.digest)
    under_way = progress.status in UNDER_WAY
    return render(
        request,
        "cohort.html",
        cohort=view,
        progress=progress,
        shares=shares(progress.members),
        scatter=scatter,
        chart=cohort_chart(scatter),
        history=list_reprocessings(cohort, service, caller).items,
        under_way=under_way,
        own_zone=local_zone(),
        added=added,
        missing=missing,
        refresh_s=FOLLOWED_EVERY_S if under_way else None,
    )


def local_zone() -> str:
    """Name the service's time zone as the IANA database does, where this machine says it; else UTC."""
    said = str(FilePath("/etc/localtime").resolve()).partition("/zoneinfo/")[2]
    return said if said in available_timezones() else "UTC"


def _scatter(service: Service, caller: Caller, cohort: str, bundle_digest: str) -> CohortScatter:
    with service.database.read() as session:
        row = find_cohort(session, caller, cohort)
        bundle = find_bundle(session, bundle_digest)
    return cohort_scatter(service.database, service.vault, row, bundle)


@router.post(f"{PAGE}/{{cohort}}/members", dependencies=[TokenInForm, takes_up_to(LARGEST_TABLE)])
def import_members(cohort: CohortId, service: ServiceParts, caller: Submitter, fields: SessionForm) -> Response:
    """Let the studies of a table join."""
    entries = read_members(fields.lines("rows"))
    added = missing = 0
    for first in range(0, len(entries), MOST_ENTRIES):
        some = MembersRequest(entries=tuple(entries[first : first + MOST_ENTRIES]))
        answer = add_members(cohort, some, service, caller)
        added, missing = added + answer.added, missing + len(answer.missing)
    return RedirectResponse(f"{PAGE}/{quote(cohort, safe='')}?added={added}&missing={missing}", 303)


@router.post(f"{PAGE}/{{cohort}}/schedule", dependencies=[TokenInForm])
def schedule_nights(cohort: CohortId, service: ServiceParts, caller: Submitter, fields: SessionForm) -> Response:
    """Work the cohort through in a window of every night, or by nights no more."""
    schedule = None
    if fields["nights"] != "none":
        said = {name: fields[name] for name in ("start", "end", "time_zone")}
        try:
            schedule = NightSchedule.model_validate(said, strict=False)
        except ValidationError as error:
            first = error.errors()[0]
            place = f"{first['loc'][0]}: " if first["loc"] else ""
            raise ServiceError("invalid_request", f"{place}{first['msg'].removeprefix('Value error, ')}.") from error
    change_cohort(cohort, CohortChange(schedule=schedule), service, caller)
    return RedirectResponse(f"{PAGE}/{quote(cohort, safe='')}#schedule", 303)


@router.post(f"{PAGE}/{{cohort}}/{{move}}", dependencies=[TokenInForm])
def move_cohort(
    cohort: CohortId, move: Move, service: ServiceParts, caller: Submitter, fields: SessionForm
) -> Response:
    """Begin a cohort's way through its bundle, let it rest, go on, or end it."""
    if move == "begin":
        begin(cohort, ReprocessingRequest(in_window=bool(fields["in_window"])), service, caller)
    else:
        MOVES[move](cohort, service, caller)
    return RedirectResponse(f"{PAGE}/{quote(cohort, safe='')}", 303)
