"""Two runs side by side: of one study by two models, of one person at two visits, or of any two that one may see."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.compare_view import compared
from med3d_pages.rendering import render, texts_for
from med3d_pages.routes.result import SIDES
from med3d_service.api.routes import ServiceParts
from med3d_service.problems import ServiceError
from med3d_service.results.cases import read_case
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.requests import note_shown

router = APIRouter(include_in_schema=False)


@router.get(f"{PREFIX}/runs/{{run_id}}/beside/{{other_id}}")
def show_two_runs(request: Request, run_id: str, other_id: str, service: ServiceParts, caller: Viewer) -> HTMLResponse:
    """Show two runs side by side."""
    cases = [read_case(service, caller, one) for one in (run_id, other_id)]
    one, other = cases
    if one is None or other is None:
        raise ServiceError("unknown_run")
    note_shown(request, "run", [run_id, other_id], each=True)
    return render(
        request,
        "compare.html",
        cases=cases,
        found=compared(one, other, texts_for(request)),
        planes=tuple(SIDES),
        sides=SIDES,
        swapped=f"{PREFIX}/runs/{other_id}/beside/{run_id}",
    )
