"""What needs a person: answers for review on which nobody has given a verdict yet, the worst first."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.rendering import render
from med3d_pages.rows import rows_of
from med3d_service.api.routes import ServiceParts
from med3d_service.runs.worklist import ListedRun, Shown, WorklistFilter, list_runs
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.requests import note_shown

router = APIRouter(include_in_schema=False)
MOST = 50


@router.get(f"{PREFIX}/review")
def show_queue(request: Request, service: ServiceParts, caller: Viewer) -> HTMLResponse:
    """Show the newest that wait, the worst of them first."""
    wanted = WorklistFilter(shown=Shown.REVIEW, unjudged=True)
    with service.database.read() as session:
        found = list_runs(session, service.vault, caller, wanted, before=None, limit=MOST + 1)
    rows = rows_of(request, service, caller, sorted(found[:MOST], key=_badness, reverse=True))
    note_shown(request, "run", [one.run.run_id for one in found[:MOST]], each=caller.clinical)
    return render(request, "review.html", rows=rows, more=len(found) > MOST, most=MOST)


def _badness(listed: ListedRun) -> tuple[int, float]:
    """Order by how much speaks against the number: reasons first, then the distance from what the model knows."""
    result = listed.run.result
    if result is None:
        return 0, 0.0
    return len(result.assessment.reasons), result.assessment.out_of_distribution.distance
