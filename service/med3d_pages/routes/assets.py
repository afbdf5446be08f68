"""The way in, and the files that pages refer to."""

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse

from med3d_pages.rendering import PREFIX, STATIC, asset_url
from med3d_service.problems import ServiceError
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(include_in_schema=False, dependencies=[Unaudited])
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
ASSETS = {path.name: path for path in STATIC.iterdir() if path.suffix in KINDS}


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
    path = ASSETS.get(name)
    if path is None or asset_url(name) != f"{PREFIX}/static/{digest}/{name}":
        raise ServiceError("not_found")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(path, media_type=KINDS[path.suffix], headers=headers)
