"""Peers that are there and do not do what they are there for: they fall silent, hang up, refuse, or say something else."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event

from med3d_service.network.peers.dimse import STUDY_ROOT_FIND, STUDY_ROOT_GET

Answer: TypeAlias = Callable[[socket.socket, threading.Event], None]
Responses: TypeAlias = Iterator[tuple[int, Dataset | None]]
VERIFICATION = "1.2.840.10008.1.1"
JSON = "Content-Type: application/dicom+json\r\n"


@contextmanager
def answering(answer: Answer, *, tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Listen on a port, which is yielded, and let ``answer`` speak on each connection. tls: (certificate, key)."""
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    threads = []
    stopped = threading.Event()

    def speak(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if context is None:
                answer(connection, stopped)
            else:
                with context.wrap_socket(connection, server_side=True) as secured:
                    answer(secured, stopped)

    def accept() -> None:
        with suppress(OSError):
            while not stopped.is_set():
                threads.append(threading.Thread(target=speak, args=(listening.accept()[0],)))
                threads[-1].start()

    listening = socket.create_server(("127.0.0.1", 0))
    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stopped.set()
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join(10)
        listening.close()
        for one in threads:
            one.join(10)


def silent(_connection: socket.socket, stopped: threading.Event) -> None:
    """Say nothing."""
    stopped.wait(30)


def resetting(connection: socket.socket, _stopped: threading.Event) -> None:
    """End the connection once something was asked."""
    connection.recv(65536)
    reset(connection)


def reset(connection: socket.socket) -> None:
    """End a connection by RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def saying(*pieces: bytes, pause_s: float = 0.0) -> Answer:
    """Make what says these pieces once something was asked, with a pause before each but the first."""

    def say(connection: socket.socket, stopped: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(pieces[0])
        for one in pieces[1:]:
            if stopped.wait(pause_s):
                return
            connection.sendall(one)

    return say


def http(status: int, body: bytes = b"", headers: str = JSON) -> bytes:
    """Write an answer by HTTP."""
    return f"HTTP/1.1 {status} .\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n".encode() + body


@contextmanager
def scp(
    *,
    classes: Sequence[str] = (VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_GET),
    echo: Callable[[Event], int] | None = None,
    find: Callable[[Event], Responses] | None = None,
    **settings: Any,
) -> Iterator[int]:
    """Run an SCP on a port, which is yielded. echo and find: its handlers; the usual ones are well-behaved."""
    entity = AE(ae_title="PEER")
    for one in classes:
        entity.add_supported_context(one)
    for name, value in settings.items():
        setattr(entity, name, value)
    handlers: list[Any] = [
        (evt.EVT_C_ECHO, echo or (lambda _event: 0)),
        (evt.EVT_C_FIND, find or (lambda _event: iter([(0, None)]))),
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def deaf(event: Event) -> int:
    """Answer when nobody waits any more."""
    while event.assoc.is_established:
        time.sleep(0.01)
    return 0


def deaf_to_searches(event: Event) -> Responses:
    """The same, of a search."""
    deaf(event)
    yield 0, None


def reset_at_once(event: Event) -> int:
    """End the connection in the middle."""
    wrapped = event.assoc.dul.socket
    assert wrapped is not None
    assert wrapped.socket is not None
    reset(wrapped.socket)
    return 0


def anything(_event: Event) -> Responses:
    """Answer a search with what was not asked for, and go on so."""
    found = Dataset()
    found.QueryRetrieveLevel, found.StudyInstanceUID = "STUDY", "1.2.3"
    while True:
        yield 0xFF00, found


def refusing(_event: Event) -> Responses:
    """Answer a search with a failure."""
    yield 0xA700, None
