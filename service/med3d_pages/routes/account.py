"""Who is signed in, and what they may."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.rendering import render
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(include_in_schema=False)


@router.get(f"{PREFIX}/account", dependencies=[Unaudited])
def show_account(request: Request, caller: Viewer) -> HTMLResponse:
    """Show the caller."""
    del caller
    return render(request, "account.html")
