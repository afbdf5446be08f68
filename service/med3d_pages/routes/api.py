"""The page of the API: the OpenAPI document as people read it, from this service alone."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.api_view import operations
from med3d_pages.rendering import render
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(include_in_schema=False)


@router.get(f"{PREFIX}/api", dependencies=[Unaudited])
def show_api(request: Request, caller: Viewer) -> HTMLResponse:
    """Show what programs can do."""
    del caller
    document = request.app.openapi()
    origin = str(request.base_url).rstrip("/")
    return render(request, "api.html", groups=operations(document), version=document["info"]["version"], origin=origin)
