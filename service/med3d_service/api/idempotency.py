"""The header around the API (draft-ietf-httpapi-idempotency-key-header-07)."""

import hashlib
from collections.abc import MutableMapping
from typing import Any

from anyio import CancelScope, to_thread
from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from med3d_service.problem_answers import problem_response
from med3d_service.problems import ServiceError, database_problem, problems
from med3d_service.storage.database import Database
from med3d_service.storage.repetitions import Answer, claim, give_back, keep
from med3d_service.trust.access import Caller

HEADER = "idempotency-key"
LONGEST_KEY = 200
LARGEST_ANSWER = 64 * 1024
CODES = ("request_under_way", "key_of_another_request", "invalid_idempotency_key")


class RequestDigest:
    """sha256 over the body, whatever boundary a multipart body was given: each sending of the same form has its own."""

    def __init__(self, content_type: str) -> None:
        _, _, boundary = content_type.partition("boundary=")
        self._boundary = boundary.split(";")[0].strip('" ').encode("latin-1")
        kind = content_type.split(";", maxsplit=1)[0].strip().lower()
        self._digest, self._tail = hashlib.sha256(kind.encode("latin-1") + b"\n"), b""

    def update(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        if not self._boundary:
            self._digest.update(piece)
            return
        text = (self._tail + piece).replace(self._boundary, b"")
        kept = len(self._boundary) - 1
        self._digest.update(text[: max(0, len(text) - kept)])
        self._tail = text[max(0, len(text) - kept) :]

    def hexdigest(self) -> str:
        """Return what all of it comes to."""
        whole = self._digest.copy()
        whole.update(self._tail)
        return whole.hexdigest()


class Repetitions:
    """Wraps the routes, behind the door that finds the caller."""

    def __init__(self, database: Database, largest_body: int) -> None:
        self._database, self._largest_body = database, largest_body

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Wrap ``app``."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            headers = Headers(scope=scope) if scope["type"] == "http" and scope["method"] == "POST" else Headers()
            if HEADER not in headers:
                await app(scope, receive, send)
                return
            caller: Caller | None = scope.get("state", {}).get("caller")
            if caller is None:
                await app(scope, receive, send)
                return
            try:
                key = _key(caller, scope, headers[HEADER])
                first = await to_thread.run_sync(claim, self._database, key)
                if first is None:
                    await self._do(app, scope, receive, send, key)
                else:
                    await self._repeat(first, scope, receive, send)
            except (ServiceError, OperationalError) as error:
                told = error if isinstance(error, ServiceError) else database_problem(error)
                await problem_response(told)(scope, receive, send)

        return watched

    async def _do(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, key: str) -> None:
        """Let the API answer, and keep the answer if something was done."""
        digest = RequestDigest(Headers(scope=scope).get("content-type", ""))
        heard, kept = _Heard(), False

        async def digesting() -> Message:
            message = await receive()
            digest.update(message.get("body", b""))
            return message

        async def keeping(message: Message) -> None:
            nonlocal kept
            if heard.is_whole_with(message) and (answer := heard.answer(digest.hexdigest())) is not None:
                await to_thread.run_sync(keep, self._database, key, answer)  # before it is given
                kept = True
            await send(message)

        try:
            await app(scope, digesting, keeping)
        finally:
            if not kept:
                with CancelScope(shield=True):
                    await to_thread.run_sync(give_back, self._database, key)

    async def _repeat(self, first: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        """Read what is asked, and give the first answer where it is the same."""
        digest, size = RequestDigest(Headers(scope=scope).get("content-type", "")), 0
        async for piece in Request(scope, receive).stream():
            size += len(piece)
            if size > self._largest_body:
                raise ServiceError("key_of_another_request")
            digest.update(piece)
        if digest.hexdigest() != first.request_sha256:
            raise ServiceError("key_of_another_request")
        location = {} if first.location is None else {"Location": first.location}
        response = Response(first.body, first.status, location, media_type=first.content_type)
        await response(scope, receive, send)


class _Heard:
    """What the API answers, as it is sent."""

    def __init__(self) -> None:
        self._start: Message | None = None
        self._body = bytearray()

    def is_whole_with(self, message: Message) -> bool:
        """Take the next message; whether it is the last one."""
        if message["type"] == "http.response.start":
            self._start = message
            return False
        if len(self._body) <= LARGEST_ANSWER:
            self._body.extend(message.get("body", b""))
        return not message.get("more_body", False)

    def answer(self, request_sha256: str) -> Answer | None:
        """Return it; None where nothing was done, or the answer is too long to be kept."""
        if self._start is None or len(self._body) > LARGEST_ANSWER or not 200 <= self._start["status"] < 300:
            return None
        headers = Headers(raw=self._start["headers"])
        return Answer(
            request_sha256,
            self._start["status"],
            headers.get("content-type", ""),
            headers.get("location"),
            self._body.decode("utf-8", "replace"),
        )


def _key(caller: Caller, scope: Scope, given: str) -> str:
    if not 1 <= len(given) <= LONGEST_KEY or not (given.isascii() and given.isprintable()):
        raise ServiceError("invalid_idempotency_key")
    address = f"{scope['method']} {scope['path']}?{scope['query_string'].decode('latin-1')}"
    return hashlib.sha256(f"{caller.kind}\n{caller.name}\n{address}\n{given}".encode()).hexdigest()


def describe_idempotency(document: MutableMapping[str, Any]) -> None:
    """Say in the OpenAPI document which routes take the header, and what may come of it."""
    header = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "repeated with the same body within a day, the first answer is given and nothing is done again",
        "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"},
    }
    for path, methods in document["paths"].items():
        route = methods.get("post")
        if route is None or not route.get("security") or path.startswith("/worker"):
            continue
        route.setdefault("parameters", []).append(header)
        for status, response in problems(*CODES).items():
            described = route["responses"].setdefault(str(status), response)
            for kind, shown in response["content"].items():
                described["content"].get(kind, {}).setdefault("examples", {}).update(shown["examples"])
