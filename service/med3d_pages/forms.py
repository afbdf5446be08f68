"""Fields of forms. A form of a session carries the session's token; the one that begins it, a token of its own."""

import hashlib
import re
import secrets
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.datastructures import Headers

from med3d_pages.addresses import PREFIX
from med3d_service.problems import ServiceError
from med3d_service.storage.same_secret import is_same_secret
from med3d_service.trust.access.own_pages import require_own_origin, settle_token

TOKEN_FIELD = "token"  # noqa: S105 - a field's name
BEFORE_COOKIE = "med3d_before"
MOST_FIELDS = 80


class Fields:
    """The fields of a form that was sent; one that is absent is empty."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs, self._texts = pairs, dict(pairs)

    def __getitem__(self, name: str) -> str:
        return self._texts.get(name, "").strip()

    def every(self, name: str) -> list[str]:
        """Read a field that may be there several times, as boxes that are ticked are."""
        return [text.strip() for given, text in self._pairs if given == name]

    def lines(self, name: str) -> str:
        """Read a text of lines: browsers send two characters for the end of one, and count one (HTML 4.10.11)."""
        return self[name].replace("\r\n", "\n")


async def _fields(request: Request) -> Fields:
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return Fields(parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise ServiceError("invalid_request", "The form has more fields than any of our pages.") from error


async def _session_fields(request: Request) -> Fields:
    """Read a form of a session's page. Raises ServiceError("not_from_our_page")."""
    fields = await _fields(request)
    settle_token(request, fields[TOKEN_FIELD])
    return fields


async def _first_fields(request: Request) -> Fields:
    """Read the form that begins a session. Raises ServiceError("not_from_our_page")."""
    require_own_origin(Headers(raw=request.scope["headers"]))
    return await _fields(request)


def is_of_this_browser(request: Request, fields: Fields) -> bool:
    """Tell whether a form that begins a session was given to the browser that sends it.

    Another site could else sign a person in as somebody whose worklist it reads.
    """
    return is_same_secret(fields[TOKEN_FIELD], first_token(request.cookies.get(BEFORE_COOKIE, "")))


SessionForm = Annotated[Fields, Depends(_session_fields)]
FirstForm = Annotated[Fields, Depends(_first_fields)]


def new_before() -> str:
    """Make what is put into a cookie before there is a session."""
    return secrets.token_urlsafe(16)


def first_token(before: str) -> str:
    """Derive the token of the form that begins a session; of no cookie there is none that fits."""
    if not before:
        return secrets.token_urlsafe(16)
    return hashlib.sha256(f"first\0{before}".encode()).hexdigest()


def own_target(wanted: str | None) -> str:
    """Return where to go on: an address of a page of ours, whatever was asked for."""
    if wanted is None or len(wanted) > 500 or not wanted.isprintable() or "\\" in wanted:
        return PREFIX
    # No parsing: one slash and our own word behind it can name no other host, whatever follows.
    return wanted if re.match(rf"{PREFIX}(?:[/?#]|$)", wanted) else PREFIX
