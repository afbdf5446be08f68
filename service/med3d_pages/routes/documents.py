"""The documents, for whoever can reach the service: nothing in them is of a site, a person or a study."""

from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse

from med3d_pages.addresses import DOCUMENTS
from med3d_pages.documents import FIRST, SITE, find_documents, kind_of, policy_of
from med3d_service.problems import ServiceError
from med3d_service.trust.audit.routes import Unaudited


def make_router(site: Path) -> APIRouter:
    """Make the routes of the site in a folder."""
    router = APIRouter(include_in_schema=False, dependencies=[Unaudited])
    files = lru_cache(1)(lambda: find_documents(site))
    policies = lru_cache(policy_of)

    @router.get(DOCUMENTS)
    def first_document() -> RedirectResponse:
        """Lead on to the first page; links of the site count from its folder."""
        return RedirectResponse(f"{DOCUMENTS}/{FIRST}", 303)

    @router.get(f"{DOCUMENTS}/{{name:path}}")
    def document(name: str) -> FileResponse:
        """Give a file of the site. Browsers ask each time whether it is still the same."""
        path = files().get(name or FIRST)
        if path is None:
            raise ServiceError("not_found")
        headers = {"Content-Security-Policy": policies(path), "Cache-Control": "no-cache"}
        return FileResponse(path, media_type=kind_of(path), headers=headers)

    return router


router = make_router(SITE)
