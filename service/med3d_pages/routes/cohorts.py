"""The pages of cohorts: which there are, and of one how far it is, what failed, and how well it was estimated."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

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
from med3d_pages.clock import local_zone
from med3d_pages.cohort_view import cohort_chart, shares
from med3d_pages.forms import SessionForm
from med3d_pages.member_table import read_members
from med3d_pages.rendering import render, texts_for
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
from med3d_service.trust.audit.requests import note_shown

router = APIRouter(include_in_schema=False)
PAGE = f"{PREFIX}/cohorts"
ON_A_PAGE = 25
FOLLOWED_EVERY_S = 20
LARGEST_TABLE = 2 * 1024 * 1024
NO_PROBLEM = (200, "")
NOTHING_TYPED = {"rows": "", "start": "", "end": "", "time_zone": ""}
MOVES = {"pause": pause, "resume": resume, "cancel": cancel}
Move = Annotated[str, Path(pattern="^(begin|pause|resume|cancel)$")]


@router.get(PAGE)
def show_cohorts(request: Request, service: ServiceParts, caller: Viewer, cursor: Cursor = None) -> HTMLResponse:
    """Show the cohorts, the newest first."""
    return _list_page(request, service, caller, cursor)


def _list_page(
    request: Request,
    service: Service,
    caller: Caller,
    cursor: str | None = None,
    *,
    problem: tuple[int, str] = NO_PROBLEM,
    typed: str = "",
) -> HTMLResponse:
    found = list_cohorts(service, caller, ON_A_PAGE, cursor)
    note_shown(request, "cohort", [one.cohort_id for one in found.items])
    older = found.next_cursor and f"{PAGE}?cursor={quote(found.next_cursor)}"
    return render(
        request,
        "cohorts/cohorts.html",
        status=problem[0],
        cohorts=found.items,
        older=older,
        newest=PAGE if cursor else None,
        problem=problem[1],
        typed=typed,
    )


@router.post(PAGE, dependencies=[TokenInForm])
def make_cohort(
    request: Request, response: Response, service: ServiceParts, caller: Submitter, fields: SessionForm
) -> Response:
    """Make a cohort, which has no members yet. A name that cannot be is shown again, with why."""
    texts, name = texts_for(request), fields["name"]
    try:
        made = create_cohort(CohortDraft(name=name), response, service, caller)
    except ValidationError:
        return _list_page(request, service, caller, problem=(422, texts("cohorts.name_hint")), typed=name)
    except ServiceError as error:
        if error.code != "cohort_exists":
            raise
        taken = (error.status, texts("problem.said.cohort_exists"))
        return _list_page(request, service, caller, problem=taken, typed=name)
    return RedirectResponse(f"{PAGE}/{made.cohort_id}", 303)


@router.get(f"{PAGE}/{{cohort}}")
def show_cohort(
    request: Request,
    cohort: CohortId,
    service: ServiceParts,
    caller: Viewer,
    added: Annotated[int | None, Query(ge=0)] = None,
    known: Annotated[int, Query(ge=0)] = 0,
    missing: Annotated[int, Query(ge=0)] = 0,
    aside: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """Show one cohort."""
    return _page(request, service, caller, cohort, added=added, known=known, missing=missing, aside=aside)


def _page(
    request: Request,
    service: Service,
    caller: Caller,
    cohort: str,
    *,
    problem: tuple[int, str] = NO_PROBLEM,
    typed: Mapping[str, str] = NOTHING_TYPED,
    added: int | None = None,
    known: int = 0,
    missing: int = 0,
    aside: int = 0,
) -> HTMLResponse:
    view = read_cohort(cohort, service, caller)
    progress = read_progress(cohort, service, caller)
    scatter = _scatter(service, caller, cohort, progress.bundle.digest)
    under_way = progress.status in UNDER_WAY
    return render(
        request,
        "cohorts/cohort.html",
        status=problem[0],
        problem=problem[1],
        typed=typed,
        cohort=view,
        progress=progress,
        shares=shares(progress.members),
        scatter=scatter,
        chart=cohort_chart(scatter, texts_for(request)),
        history=list_reprocessings(cohort, service, caller).items,
        under_way=under_way,
        own_zone=local_zone(),
        added=added,
        known=known,
        missing=missing,
        aside=aside,
        refresh_s=FOLLOWED_EVERY_S if under_way else None,
    )


def _scatter(service: Service, caller: Caller, cohort: str, bundle_digest: str) -> CohortScatter:
    with service.database.read() as session:
        row = find_cohort(session, caller, cohort)
        bundle = find_bundle(session, bundle_digest)
    return cohort_scatter(service.database, service.vault, row, bundle)


@router.post(f"{PAGE}/{{cohort}}/members", dependencies=[TokenInForm, takes_up_to(LARGEST_TABLE)])
def import_members(
    request: Request, cohort: CohortId, service: ServiceParts, caller: Submitter, fields: SessionForm
) -> Response:
    """Let the studies of a table join. One that cannot be read is shown again, with the row that is at fault."""
    rows = fields.lines("rows")
    try:
        table = read_members(rows)
    except ServiceError as error:
        at_fault = (error.status, error.detail)
        return _page(request, service, caller, cohort, problem=at_fault, typed=NOTHING_TYPED | {"rows": rows})
    added = known = missing = 0
    for first in range(0, len(table.entries), MOST_ENTRIES):
        some = MembersRequest(entries=table.entries[first : first + MOST_ENTRIES])
        answer = add_members(cohort, some, service, caller)
        added, known, missing = added + answer.added, known + answer.known, missing + len(answer.missing)
    told = f"added={added}&known={known}&missing={missing}"
    told += f"&aside={table.columns_aside}" if table.columns_aside else ""
    return RedirectResponse(f"{PAGE}/{quote(cohort, safe='')}?{told}", 303)


@router.post(f"{PAGE}/{{cohort}}/schedule", dependencies=[TokenInForm])
def schedule_nights(
    request: Request, cohort: CohortId, service: ServiceParts, caller: Submitter, fields: SessionForm
) -> Response:
    """Work the cohort through in a window of every night, or by nights no more; what is no window is shown again."""
    schedule = None
    if fields["nights"] != "none":
        said = {name: fields[name] for name in ("start", "end", "time_zone")}
        try:
            schedule = NightSchedule.model_validate(said, strict=False)
        except ValidationError as error:
            first = error.errors()[0]
            place = f"{first['loc'][0]}: " if first["loc"] else ""
            at_fault = (422, f"{place}{first['msg'].removeprefix('Value error, ')}.")
            return _page(request, service, caller, cohort, problem=at_fault, typed=NOTHING_TYPED | said)
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
