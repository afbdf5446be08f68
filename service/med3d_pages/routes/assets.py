"""The way in, and the files that pages refer to."""

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.files import KINDS, asset_paths, asset_url
from med3d_service.problems import ServiceError
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(include_in_schema=False, dependencies=[Unaudited])


@router.get("/")
def root() -> RedirectResponse:
    """Lead browsers to the pages."""
    return RedirectResponse(PREFIX, 303)


@router.get(PREFIX)
def first_page() -> RedirectResponse:
    """Lead on to the first page."""
    return RedirectResponse(f"{PREFIX}/today", 303)


@router.get(f"{PREFIX}/static/{{digest}}/{{name}}")
def asset(digest: str, name: str) -> FileResponse:
    """Give a file, which may be kept for ever under its address."""
    path = asset_paths().get(name)
    if path is None or asset_url(name) != f"{PREFIX}/static/{digest}/{name}":
        raise ServiceError("not_found")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(path, media_type=KINDS[path.suffix], headers=headers)
