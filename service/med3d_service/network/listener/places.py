"""Who holds a place at the listener: known by address at accept, not too many of one, none for long without a word."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from med3d_service.network.listener.admission import AllowList
from med3d_service.settings import Settings

ARTIM_S = 10.0
"""Time until the whole A-ASSOCIATE-RQ has come, TLS handshake and all (the ARTIM timer of PS3.8 9.1.5)."""
RESERVED_SHARE = 4
"""One place in so many is for callers whose own address is listed, where others come by their network."""


@dataclass(eq=False)
class Place:
    """A connection under way. ``is_open``: its association has been accepted."""

    connection: socket.socket
    address: str
    since_s: float
    is_open: bool = False


class Places:
    """The places of one listener; safe to share between threads."""

    def __init__(self, settings: Settings, allowed: AllowList, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._most_of_one = settings.dicom_associations, settings.dicom_associations_per_address
        self._allowed, self._clock = allowed, clock
        self._lock = threading.Lock()
        self._held: dict[threading.Thread, Place] = {}

    def take(self, thread: threading.Thread, connection: socket.socket, address: str) -> str | None:
        """Give a place to who is about to be served by ``thread``, or say why not."""
        if not self._allowed.admits_address(address):
            return "address_unknown"
        with self._lock:
            if sum(place.address == address for place in self._held.values()) >= self._most_of_one:
                return "address_limit"
            if len(self._held) >= self._most - self._reserved_from(address):
                return "local_limit"
            self._held[thread] = Place(connection, address, self._clock())
        return None

    def _reserved_from(self, address: str) -> int:
        return 0 if self._allowed.names_address(address) else self._most // RESERVED_SHARE

    def replace(self, connection: socket.socket) -> None:
        """Put the TLS connection in place of the bare one, for the calling thread."""
        with self._lock:
            self._held[threading.current_thread()].connection = connection

    def opened(self) -> None:
        """Note that the calling thread's association has been accepted."""
        with self._lock:
            self._held[threading.current_thread()].is_open = True

    def leave(self) -> None:
        """Free the calling thread's place."""
        with self._lock:
            self._held.pop(threading.current_thread(), None)

    def cut_off_overdue(self) -> int:
        """Cut off who has not asked for an association in ARTIM_S, however slowly it talks; how many."""
        until_s = self._clock() - ARTIM_S
        with self._lock:
            overdue = [place for place in self._held.values() if not place.is_open and place.since_s <= until_s]
        cut_off(place.connection for place in overdue)
        return len(overdue)

    def threads(self) -> list[threading.Thread]:
        """Return those that serve somebody."""
        with self._lock:
            return list(self._held)

    def cut_off_all(self) -> None:
        """Cut off everybody."""
        with self._lock:
            left = [place.connection for place in self._held.values()]
        cut_off(left)


def cut_off(connections: Iterable[socket.socket]) -> None:
    """Let the threads that read from ``connections`` find their end."""
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
