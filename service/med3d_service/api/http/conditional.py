"""Conditional requests (RFC 9110 13.1): JSON answers carry an ETag.

Who has that state already gets 304, and who would change a state that is no longer there gets 412.
"""

import hashlib
from collections.abc import MutableMapping
from typing import Annotated, Any

from fastapi import Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from med3d_service.api.held_answers import hold_answers
from med3d_service.problems import ServiceError

IfMatch = Annotated[
    str | None, Header(max_length=1000, description="change it only in the state of this ETag", examples=['"0a1b"'])
]

NOT_MODIFIED = {"description": "Not changed since the state whose ETag If-None-Match names"}


def with_etags(app: ASGIApp) -> ASGIApp:
    """Wrap ``app``. Only JSON that was read is held back to be looked at; streams and files pass."""
    return hold_answers(app, to=lambda scope: scope["method"] == "GET", begin=_is_json, anew=_answer)


def _is_json(start: Message) -> bool:
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return start["status"] == 200 and kind.split(";")[0] == "application/json"


async def _answer(scope: Scope, _receive: Receive, send: Send, start: Message, body: bytes) -> None:
    etag = _etag(body)
    headers = MutableHeaders(scope=start)
    headers["ETag"] = etag
    if etag in _known(Headers(scope=scope).get("if-none-match", "")):
        start["status"], body = 304, b""
        for name in ("content-length", "content-type"):
            del headers[name]
    await send(start)
    await send({"type": "http.response.body", "body": body})


def require_unchanged(if_match: str | None, state: BaseModel) -> None:
    """Raise ServiceError("state_changed") unless If-Match names ``state``, as GET shows it (RFC 9110 13.1.1).

    To be asked while the row is locked. Weak ETags never match.
    """
    if if_match is None or if_match.strip() == "*":
        return
    if _etag(JSONResponse(state.model_dump(mode="json")).body) not in {one.strip() for one in if_match.split(",")}:
        raise ServiceError("state_changed")


def _etag(body: bytes | memoryview) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _known(header: str) -> set[str]:
    return {one.strip().removeprefix("W/") for one in header.split(",")}


def describe_not_modified(document: MutableMapping[str, Any]) -> None:
    """Say 304 in the OpenAPI document, of every route whose answer is JSON that was read."""
    for methods in document["paths"].values():
        route = methods.get("get")
        if route is not None and "application/json" in route["responses"].get("200", {}).get("content", {}):
            route["responses"]["304"] = NOT_MODIFIED
