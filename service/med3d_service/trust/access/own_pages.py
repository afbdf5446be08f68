"""Whether a change that comes with a session's cookie was asked for on a page of ours: browsers send cookies along.

Two things must hold. The browser says that the request comes from this very origin (Sec-Fetch-Site, else Origin); and
the request carries the session's form token, in a header here, or in a field that the route itself looks at.
"""

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import Scope

from med3d_service.problems import ServiceError
from med3d_service.storage.same_secret import is_same_secret
from med3d_service.trust.access.sessions import TOKEN_HEADER

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def require_own_page(scope: Scope, form_token: str) -> None:
    """Let pass what changes nothing or comes from a page of ours. Raises ServiceError("not_from_our_page").

    A token in a header is looked at here; of one that is left to the route, ``require_token`` of the state stays True.
    """
    if scope.get("method", "GET") in SAFE_METHODS:
        return
    headers = Headers(raw=scope.get("headers", []))
    require_own_origin(headers)
    given = headers.get(TOKEN_HEADER)
    if given is not None and not is_same_secret(given, form_token):
        raise ServiceError("not_from_our_page")
    scope.setdefault("state", {})["owes_token"] = given is None


def require_own_origin(headers: Headers) -> None:
    """Raise ServiceError("not_from_our_page") where the browser says that another site asks."""
    fetched_from, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if fetched_from is not None:
        is_ours = fetched_from == "same-origin"
    else:
        host = headers.get("host", "")
        is_ours = origin is None or origin in {f"http://{host}", f"https://{host}"}
    if not is_ours:
        raise ServiceError("not_from_our_page")


async def _looks_at_its_form() -> None:
    """Mark a route that looks for the token among the fields of its form (med3d_pages.forms)."""


TokenInForm = Depends(_looks_at_its_form)


def require_paid_token(scope: Scope, marks: frozenset[object]) -> None:
    """Raise ServiceError("not_from_our_page") where a token is owed and the route looks at no form of its own."""
    if scope.get("state", {}).get("owes_token") and _looks_at_its_form not in marks:
        raise ServiceError("not_from_our_page")


def settle_token(request: Request, given: str) -> None:
    """Take the token of a form's field. Raises ServiceError("not_from_our_page")."""
    expected = getattr(request.state, "form_token", None)
    if expected is None or not is_same_secret(given, expected):
        raise ServiceError("not_from_our_page")
