"""The answers of a cohort, one by one: for whoever looks at each and says what it is worth."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from med3d_service.api.http.pages import Cursor, Limit, cut, place_of
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.routes.cohorts.cohort_progress import BundleQuery
from med3d_service.api.routes.cohorts.cohorts import CohortId
from med3d_service.api.routes.runs.runs import RunPage
from med3d_service.api.service import Service
from med3d_service.cohorts.answers import list_answers
from med3d_service.cohorts.members import find_cohort
from med3d_service.cohorts.progress import cohort_progress
from med3d_service.problems import AUTH_CODES, problems
from med3d_service.runs.worklist import ListedRun
from med3d_service.trust.access import Caller, Viewer
from med3d_service.trust.audit.requests import note_shown

router = APIRouter(tags=["cohorts"])
Unjudged = Annotated[bool, Query(description="only those on which no verdict stands")]


@router.get(
    "/cohorts/{cohort}/answers",
    summary="List the answers of a cohort",
    responses=problems("unknown_cohort", "unknown_bundle", "no_bundle", "bundle_forged", "invalid_cursor", *AUTH_CODES)
    | {
        200: {
            "description": "A page of runs that have an answer",
            "content": {"application/json": {"example": {"items": [examples.RUN], "next_cursor": None}}},
        }
    },
)
def list_cohort_answers(
    cohort: CohortId,
    request: Request,
    service: ServiceParts,
    caller: Viewer,
    bundle: BundleQuery = None,
    unjudged: Unjudged = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> RunPage:
    """List the members' runs by one bundle that have a number or a refusal, newest first."""
    found, next_cursor = answers_of(service, caller, cohort, bundle, unjudged=unjudged, limit=limit, cursor=cursor)
    note_shown(request, "run", [one.run.run_id for one in found])
    return RunPage(items=tuple(one.run for one in found), next_cursor=next_cursor)


def answers_of(
    service: Service,
    caller: Caller,
    cohort: str,
    bundle: str | None,
    *,
    unjudged: bool,
    limit: int,
    cursor: str | None,
) -> tuple[list[ListedRun], str | None]:
    """Read a page of them, and the cursor of the next one."""
    before = place_of(cursor)
    with service.database.read() as session:
        row = find_cohort(session, caller, cohort)
        digest = cohort_progress(session, row, bundle, service.settings.worker_silent_s).bundle.digest
        found = list_answers(
            session, service.vault, caller, row, digest, unjudged=unjudged, before=before, limit=limit + 1
        )
    kept, next_cursor = cut(found, limit, lambda one: one.seq)
    return list(kept), next_cursor
