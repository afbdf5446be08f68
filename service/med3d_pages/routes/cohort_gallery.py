"""A cohort's pictures, to accept or exclude one by one; and what another model says of the cohort."""

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from med3d_contract.results import Verdict, VerdictRequest
from med3d_pages.forms import SessionForm
from med3d_pages.rendering import render
from med3d_pages.routes.actions import LONGEST_READER, LONGEST_WHY
from med3d_pages.routes.cohorts import PAGE
from med3d_pages.routes.result import SIDES
from med3d_pages.rows import rows_of
from med3d_service.api.http.pages import Cursor
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.cohorts.cohort_answers import answers_of
from med3d_service.api.routes.cohorts.cohort_reports import compared_bundles
from med3d_service.api.routes.cohorts.cohorts import CohortId, read_cohort
from med3d_service.api.routes.runs.runs import add_verdict
from med3d_service.cohorts.diff import cohort_diff
from med3d_service.problems import ServiceError
from med3d_service.trust.access import Submitter, Viewer
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.audit.requests import note_shown
from med3d_service.trust.audit.routes import RecordsItself

router = APIRouter(include_in_schema=False)
ON_A_PAGE = 12
GIVEN = {Verdict.ACCEPTED, Verdict.REJECTED}
Every = Annotated[bool, Query(alias="all")]
Bundle = Annotated[str, Query(max_length=300)]


def _address(cohort: str, *, every: bool, cursor: str | None = None) -> str:
    said = ({"all": "1"} if every else {}) | ({"cursor": cursor} if cursor else {})
    return f"{PAGE}/{quote(cohort, safe='')}/gallery" + (f"?{urlencode(said)}" if said else "")


@router.get(f"{PAGE}/{{cohort}}/gallery")
def show_gallery(
    request: Request,
    cohort: CohortId,
    service: ServiceParts,
    caller: Viewer,
    every: Every = False,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Show the heads of a cohort on which nobody has given a verdict yet, or all of them."""
    found, older = answers_of(service, caller, cohort, None, unjudged=not every, limit=ON_A_PAGE, cursor=cursor)
    rows = rows_of(request, service, caller, found)
    note_shown(request, "run", [one.run.run_id for one in found], each=caller.clinical)
    return render(
        request,
        "cohorts/gallery.html",
        cohort=read_cohort(cohort, service, caller),
        rows=rows,
        every=every,
        planes=tuple(SIDES),
        form=_address(cohort, every=every, cursor=cursor),
        other=_address(cohort, every=not every),
        older=older and _address(cohort, every=every, cursor=older),
        newest=_address(cohort, every=every) if cursor else None,
    )


@router.post(f"{PAGE}/{{cohort}}/gallery", dependencies=[TokenInForm, RecordsItself])
def judge_head(
    cohort: CohortId,
    service: ServiceParts,
    caller: Submitter,
    fields: SessionForm,
    every: Every = False,
    cursor: Cursor = None,
) -> Response:
    """Accept a head, or leave it out of the cohort's figures: a verdict as any other."""
    said, why, reader = fields["verdict"], fields.lines("why"), fields["reader"]
    if said not in GIVEN or len(why) > LONGEST_WHY or len(reader) > LONGEST_READER:
        raise ServiceError("invalid_request", "Accept the head, or exclude it and say why in at most 2000 letters.")
    add_verdict(fields["run"], VerdictRequest(verdict=Verdict(said), why=why, reader=reader), service, caller)
    return RedirectResponse(_address(cohort, every=every, cursor=cursor), 303)


@router.get(f"{PAGE}/{{cohort}}/diff")
def show_difference(
    request: Request,
    cohort: CohortId,
    service: ServiceParts,
    caller: Viewer,
    before: Bundle = "",
    after: Bundle = "",
) -> HTMLResponse:
    """Show what another model says of the cohort, and of whom it says something else."""
    found, (first, second) = compared_bundles(service, caller, cohort, before or None, after or None)
    diff, _points = cohort_diff(service.database, found, first, second)
    return render(request, "cohorts/diff.html", cohort_id=found.id, diff=diff, first=first, second=second)
