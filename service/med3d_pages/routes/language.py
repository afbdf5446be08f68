"""The language of the pages, where somebody wants another one than the browser's."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.forms import own_target
from med3d_pages.rendering import LANGUAGE_COOKIE
from med3d_pages.texts import languages
from med3d_service.problems import ServiceError
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(include_in_schema=False)
YEAR_S = 31_536_000


@router.get(f"{PREFIX}/language/{{language}}", dependencies=[Unaudited])
def choose_language(
    request: Request, language: str, to: Annotated[str | None, Query(max_length=500)] = None
) -> Response:
    """Remember a language in this browser, and lead back."""
    if language not in languages():
        raise ServiceError("not_found")
    answer = RedirectResponse(own_target(to), 303)
    is_secure = request.url.scheme == "https"
    answer.set_cookie(
        LANGUAGE_COOKIE, language, max_age=YEAR_S, path=PREFIX, httponly=True, samesite="lax", secure=is_secure
    )
    return answer
