"""What keeps two systems from speaking: errors of TLS told apart from silence, and an end to what would never end."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

PAGES = {"text/html", "application/xhtml+xml"}
UNTRUSTED, NO_TLS, UNREACHABLE = "peer_untrusted", "peer_tls", "peer_unreachable"


def code_of(error: BaseException | None) -> str:
    """Tell why a connection failed: one of UNTRUSTED, NO_TLS and UNREACHABLE."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return UNTRUSTED
        if isinstance(error, ssl.SSLError):
            return NO_TLS
        error = error.__cause__ or error.__context__
    return UNREACHABLE


class Deadline:
    """Cuts connections when its time is over: a peer that says a byte now and then is never silent, and never done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._is_over = False

    def bounds(self, connection: socket.socket) -> None:
        """Let ``connection`` end with it."""
        with self._lock:
            self._connections.append(connection)
            if self._is_over:
                _cut(connection)

    @contextmanager
    def after(self, seconds: float | None) -> Iterator[None]:
        """Cut what it bounds where this takes longer; never for None."""
        if seconds is None:
            yield
            return
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self) -> None:
        with self._lock:
            self._is_over = True
            for connection in self._connections:
                _cut(connection)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended by itself
        # Of the socket, also below TLS: another thread reads from it, and whoever reads is told of the end.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def noting_tls(context: ssl.SSLContext, note: Callable[[ssl.SSLError], None]) -> ssl.SSLContext:
    """Have a context's errors of the handshake noted, for a library that keeps them to itself."""

    class Noting(ssl.SSLSocket):
        def connect(self, addr: Any) -> None:
            try:
                super().connect(addr)
            except ssl.SSLError as error:
                note(error)
                raise

    context.sslsocket_class = Noting
    return context


def is_page(headers: Mapping[str, str]) -> bool:
    """Tell whether an answer is a web page: of a door where a person logs in, a viewer, a proxy."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() in PAGES


def bounded(deadline: Deadline | None) -> dict[str, Any]:
    """Return the extensions of a request by httpx whose connections end with ``deadline``, its answer begun or not."""
    return {} if deadline is None else {"trace": partial(_note_connection, deadline)}


def _note_connection(deadline: Deadline, event: str, told: Mapping[str, Any]) -> None:
    if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
        deadline.bounds(told["return_value"].get_extra_info("socket"))
