"""The head of a run in a viewer: three planes and space with linked cross-hairs, its brain, and what ageing changes."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from med3d_contract.volumes import VolumeName
from med3d_pages.addresses import PREFIX
from med3d_pages.files import viewer_library
from med3d_pages.rendering import HEADERS, render
from med3d_pages.routes.result import SIDES
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.results.volumes import read_volume
from med3d_service.problems import ServiceError
from med3d_service.results.cases import read_case
from med3d_service.trust.access import Clinical, Viewer

router = APIRouter(include_in_schema=False)
ASK_AGAIN_S = 3
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


@router.get(f"{PREFIX}/runs/{{run_id}}/nifti/{{volume}}")
def download_volume(
    request: Request, run_id: str, volume: VolumeName, service: ServiceParts, caller: Clinical
) -> Response:
    """Hand out a volume of the head as a file; while a worker makes it, a page says so and asks again by itself."""
    found = read_volume(run_id, volume, service, caller)
    if found.status_code == 202:
        page = render(request, "making.html", status=202, volume=volume, run_id=run_id)
        page.headers["Refresh"] = str(ASK_AGAIN_S)
        return page
    found.headers["Content-Disposition"] = f'attachment; filename="{run_id[:8]}-{volume}.nii.gz"'
    return found
