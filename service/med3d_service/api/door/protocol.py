"""uvicorn's HTTP protocol with bounds: httptools has none of its own, for the head's size or for how long it takes."""

import asyncio
import json
from asyncio.events import TimerHandle
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from med3d_service.api.door.connections import Places, Room
from med3d_service.api.door.door import CONNECTION
from med3d_service.logs import Tally
from med3d_service.problems import MEDIA_TYPE, ServiceError, problem_body
from med3d_service.settings import Settings

MOST_HEADERS = 100
LARGEST_HEAD = 64 * 1024
LARGEST_READ = 256 * 1024
"""What asyncio hands over at once: a header that is not whole is looked at after this much more."""
MOST_AHEAD = 16
"""Requests that may be sent before those before them are answered: 256 KiB of heads are 10,000 of them."""
LINGER_S = 2.0
LARGEST_REST = 16 * 1024 * 1024
"""So long, and so much, is read and thrown away of a request that was answered early, so that its answer arrives."""


class _HeadTooLargeError(Exception):
    """Raised through the parser."""


class _TooFarAheadError(Exception):
    """Raised through the parser."""


@dataclass(frozen=True)
class Bounds:
    """What the connections of one process share."""

    places: Places
    head_s: float
    tally: Tally


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. It is known to the door as its scopes' extension CONNECTION."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address: str | None = None
        self._bounds = bounds
        self._head_timer: TimerHandle | None = None
        self._head_bytes, self._head_read, self._fields, self._in_head = 0, 0, 0, False
        self._rest_bytes: int | None = None  # of what comes after an early answer; None while there was none

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, or answer that there is none."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else None
        if self._bounds.places.enter(self):
            self._expect_head()
        else:
            self._write_refusal("service_full")
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._bounds.places.leave(self)
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; unlike uvicorn's, no line is logged for what is no HTTP."""
        if self.transport.is_closing():
            return
        if self._rest_bytes is not None:
            self._throw_away(data)
            return
        self._unset_keepalive_if_required()
        left = data
        try:
            while left:
                left = self._parse(left)
        except httptools.HttpParserError as error:
            self._end_after(error.__context__)
            return
        self._look_at_head(len(data))

    def _parse(self, data: bytes) -> bytes:
        """Parse ``data``; return what is to be parsed after it. Raises HttpParserError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            if self.parser.get_method() == b"CONNECT":
                raise httptools.HttpParserError("a tunnel is asked for") from None
            return self._without_upgrade() + data[wish.args[0] :]
        return b""

    def _without_upgrade(self) -> bytes:
        """Write the head again without its wish for another protocol, for a parser that was not told of it.

        Java's client wishes for HTTP/2 with each request in the clear, and for the parser no body follows a wish.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        kept = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join((method + b" " + self.url + b" HTTP/" + version, *kept, b"", b""))

    def _end_after(self, cause: BaseException | None) -> None:
        if isinstance(cause, _TooFarAheadError):  # an answer may be under way: another one would come into it
            self._bounds.tally.count("too_far_ahead")
            self.transport.abort()
        else:
            self._refuse("headers_too_large" if isinstance(cause, _HeadTooLargeError) else "malformed_request")

    def _look_at_head(self, read_bytes: int) -> None:
        """Bound a header that is not whole yet, and the time until the head is."""
        if self._in_head:
            self._head_read += read_bytes
            if self._head_read > LARGEST_HEAD + LARGEST_READ:
                self._refuse("headers_too_large")
                return
        if self._in_head or self.cycle is None or self.cycle.response_complete:
            self._expect_head()

    # --- the head ---

    def on_message_begin(self) -> None:
        """Start a request."""
        if len(self.pipeline) >= MOST_AHEAD:
            raise _TooFarAheadError
        super().on_message_begin()
        self._head_bytes, self._head_read, self._fields, self._in_head = 0, 0, 0, True

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is counted and left out: it would be one more header where it came in the same read.

        Whoever sends a request through a proxy could else say behind the body what the proxy takes out of the head.
        """
        self._measure(len(name) + len(value))
        self._fields += 1
        if self._fields > MOST_HEADERS:
            raise _HeadTooLargeError
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request over, unless it is parsed again without its wish for another protocol."""
        if self.parser.should_upgrade():
            return
        self._in_head = False
        self._stop_timer()
        self.scope["extensions"] = {CONNECTION: {"connection": self}}
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that no more of the body comes."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Be as unknown as before; and take no further request where this one was answered early."""
        self._bounds.places.spare(self)
        if self._rest_bytes is None:
            super().on_response_complete()
        else:
            self.flow.resume_reading()
            self._close_gently()

    def _measure(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > LARGEST_HEAD:
            raise _HeadTooLargeError

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._bounds.head_s, self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        self._bounds.tally.count("head_too_slow")
        self.transport.abort()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # --- what the door asks for ---

    def trust(self) -> None:
        """Let the connection keep its place until its request is answered."""
        self._bounds.places.keep(self)

    def linger(self) -> None:
        """Read on for a moment once the answer is sent: closing at once could take it from the sender."""
        self._rest_bytes = 0
        self.cycle.keep_alive = True  # else uvicorn closes; that it will be closed stands in the answer already

    def drop(self) -> None:
        """End the connection now."""
        self.transport.abort()

    # --- ends ---

    def _throw_away(self, data: bytes) -> None:
        self._rest_bytes = (self._rest_bytes or 0) + len(data)
        if self._rest_bytes > LARGEST_REST:
            self.transport.abort()

    def _refuse(self, code: str) -> None:
        """Answer without a request, and end; what is still worked on gets no answer of its own any more."""
        self._bounds.tally.count(code)
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:  # this answer would come into that one
                self.transport.abort()
                return
        self._write_refusal(code)
        self._rest_bytes = 0
        self._close_gently()

    def _close_gently(self) -> None:
        """Say no more, and hear for a moment what is still being said."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def _write_refusal(self, code: str) -> None:
        error = ServiceError(code)
        body = json.dumps(problem_body(error)).encode()
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[error.status] + head.encode() + body)


def bounded_protocol(settings: Settings, room: Room) -> type[asyncio.Protocol]:
    """Make what uvicorn calls for each connection of one API process."""
    tally = Tally("connections_turned_away")
    places = Places(room, settings.trusted_proxies, tally.count)
    made = partial(BoundedHttpProtocol, bounds=Bounds(places, settings.head_s, tally))
    return cast("type[asyncio.Protocol]", made)  # uvicorn calls it, and wants no more of it
