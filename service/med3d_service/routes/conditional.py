"""Conditional reading (RFC 9110 13.1.2): JSON answers carry an ETag, and who has that state already gets 304."""

import hashlib
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOT_MODIFIED = {"description": "Not changed since the state whose ETag If-None-Match names"}


def with_etags(app: ASGIApp) -> ASGIApp:
    """Wrap ``app``. Only JSON that was read is held back to be looked at; streams and files pass."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await app(scope, receive, send)
            return
        held: Message | None = None
        body = bytearray()

        async def holding_send(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_json(message):
                held = message
            elif held is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await _answer(scope, send, held, bytes(body))

        await app(scope, receive, holding_send)

    return wrapped


def _is_json(start: Message) -> bool:
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return start["status"] == 200 and kind.split(";")[0] == "application/json"


async def _answer(scope: Scope, send: Send, start: Message, body: bytes) -> None:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = MutableHeaders(scope=start)
    headers["ETag"] = etag
    if etag in _known(Headers(scope=scope).get("if-none-match", "")):
        start["status"], body = 304, b""
        for name in ("content-length", "content-type"):
            del headers[name]
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _known(header: str) -> set[str]:
    return {one.strip().removeprefix("W/") for one in header.split(",")}


def describe_not_modified(document: MutableMapping[str, Any]) -> None:
    """Say 304 in the OpenAPI document, of every route whose answer is JSON that was read."""
    for methods in document["paths"].values():
        route = methods.get("get")
        if route is not None and "application/json" in route["responses"].get("200", {}).get("content", {}):
            route["responses"]["304"] = NOT_MODIFIED
