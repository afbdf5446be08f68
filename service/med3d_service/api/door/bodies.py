"""The body of one request on its way in: whole or in pieces, and never slower than is bearable."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from med3d_service.problems import ServiceError
from med3d_service.settings import Settings

ASK_EVERY_S = 30.0
"""So often it is looked whether the key of a long body still opens anything ..."""
FRESH_S = 1.0
"""... and at its end, where it was not just now."""


@dataclass(frozen=True)
class Pace:
    """How long a sender may keep us waiting: ``grace_s``, a second more for each ``bytes_per_s``, ``longest_s`` in all.

    Only waiting counts: what we do with a piece is not the sender's time.
    """

    grace_s: float
    bytes_per_s: float
    longest_s: float

    @classmethod
    def of(cls, settings: Settings) -> "Pace":
        """Take it from the settings."""
        return cls(settings.body_grace_s, settings.body_bytes_per_s, settings.body_longest_s)

    def allowed_s(self, size_bytes: int) -> float:
        """Return seconds of waiting that so many bytes have earned."""
        return min(self.longest_s, self.grace_s + size_bytes / self.bytes_per_s)


class IncomingBody:
    """Stands between a request's ``receive`` and the API. ``has_ended``: no more of the body is to come."""

    def __init__(self, scope: Scope, receive: Receive, pace: Pace) -> None:
        headers = Headers(scope=scope)
        self._transfer_codings = _codings(headers, "transfer-encoding")
        self._content_codings = _codings(headers, "content-encoding")
        self.stated_bytes = int(headers.get("content-length", "0"))  # digits alone: the parser has seen to it
        self.has_ended = not self.stated_bytes and "transfer-encoding" not in headers
        self._receive, self._pace = receive, pace
        self._size_bytes, self._waited_s = 0, 0.0
        self._whole: bytes | None = None
        self._ask: Callable[[], Awaitable[None]] | None = None
        self._asked_at = time.monotonic()

    def require_plain(self) -> None:
        """Raise ServiceError where what comes is not the body itself: the parser undoes 'chunked', and nobody more."""
        if self._transfer_codings not in ([], ["chunked"]):
            raise ServiceError("unknown_transfer_coding")
        if not self.has_ended and set(self._content_codings) - {"identity"}:
            raise ServiceError("body_encoded")

    def ask_again(self, whether: Callable[[], Awaitable[None]]) -> None:
        """Have ``whether`` asked while the body comes, and before its end is handed on; it raises ServiceError."""
        self._ask, self._asked_at = whether, time.monotonic()

    async def receive(self) -> Message:
        """Give the next message. Raises ServiceError("request_too_slow")."""
        if self._whole is not None:
            body, self._whole = self._whole, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self.has_ended:
            return await self._receive()
        return await self._next()

    async def read_whole(self, most_bytes: int) -> None:
        """Read all of it, to be given in one piece. Raises ServiceError, and ClientDisconnect of who hangs up."""
        if self.stated_bytes > most_bytes:
            raise ServiceError("body_too_large", _too_large(most_bytes))
        whole = bytearray()
        while not self.has_ended:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            whole += message.get("body", b"")
            if len(whole) > most_bytes:
                raise ServiceError("body_too_large", _too_large(most_bytes))
        self._whole = bytes(whole)

    async def _next(self) -> Message:
        left_s = self._pace.allowed_s(self._size_bytes) - self._waited_s
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                message = await self._receive()
        except TimeoutError as error:
            raise ServiceError("request_too_slow") from error
        self._waited_s += time.monotonic() - asked_at
        self._size_bytes += len(message.get("body", b""))
        self.has_ended = not message.get("more_body", False)
        await self._ask_when_due()
        return message

    async def _ask_when_due(self) -> None:
        due_s = FRESH_S if self.has_ended else ASK_EVERY_S
        if self._ask is not None and time.monotonic() - self._asked_at > due_s:
            await self._ask()
            self._asked_at = time.monotonic()


def _codings(headers: Headers, name: str) -> list[str]:
    """Return the codings of a header, or of several of that name, in small letters."""
    stated = ",".join(headers.getlist(name)).lower().split(",")
    return [coding.strip() for coding in stated if coding.strip()]


def _too_large(most_bytes: int) -> str:
    return f"The body is larger than the {most_bytes // 1024} KiB that this route takes."
