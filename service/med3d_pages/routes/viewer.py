"""The head of a run in a viewer: three planes and space with linked cross-hairs, its brain, and what ageing changes."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.files import viewer_library
from med3d_pages.rendering import HEADERS, render
from med3d_pages.routes.result import SIDES
from med3d_service.api.routes import ServiceParts
from med3d_service.problems import ServiceError
from med3d_service.results.cases import read_case
from med3d_service.trust.access import Viewer

router = APIRouter(include_in_schema=False)
POLICY = HEADERS["Content-Security-Policy"].replace("img-src 'self'", "img-src 'self' data:")
"""The viewer's letters are an image in its own file; it starts no worker, and compiles nothing."""


@router.get(f"{PREFIX}/runs/{{run_id}}/viewer")
def show_viewer(request: Request, run_id: str, service: ServiceParts, caller: Viewer) -> HTMLResponse:
    """Show the viewer of a run's head; still pictures where its library or the grant is missing."""
    case = read_case(service, caller, run_id)
    if case is None:
        raise ServiceError("unknown_run")
    answer = render(
        request,
        "viewer.html",
        case=case,
        listed=case.listed,
        run=case.listed.run,
        state=case.listed.shown,
        planes=tuple(SIDES) if case.has_pictures else (),
        sides=SIDES,
        library=viewer_library() if caller.clinical and case.has_volumes else None,
    )
    answer.headers["Content-Security-Policy"] = POLICY
    return answer
