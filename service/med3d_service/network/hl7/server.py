"""The MLLP server: few connections, from allowed senders, each with a thread; every message gets its acknowledgment."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import structlog

from med3d_service.logs import Tally
from med3d_service.network.hl7.acknowledging import acknowledge, not_hl7
from med3d_service.network.hl7.frames import FrameError, Frames
from med3d_service.network.hl7.messages import (
    ERROR,
    INTERNAL,
    KEY_UNKNOWN,
    REJECTED,
    Header,
    MessageRefused,
    read_header,
    read_updates,
)
from med3d_service.network.listener.admission import AllowList, plain_address
from med3d_service.network.listener.server import ListenerError, listening_socket, server_tls
from med3d_service.settings import Settings
from med3d_service.studies.patient_corrections import PatientUpdate, UpdateRefusedError

log = structlog.get_logger()
MESSAGE_S = 10.0
"""So long a message may take from its first byte to its last."""
BACKLOG = 16
LONGEST_NAME = 227
"""Of a sending application (HD, HL7 2A.33)."""
GIVES_WAY_S = 5.0
"""A connection on which nothing came for so long ends where another one wants its place."""
STOP_S = 1.0

Apply = Callable[[Sequence[PatientUpdate], str, str], int]
"""Corrects the studies of these patients, for a sender at an address; how many studies were corrected."""


def _read_name(text: str) -> str:
    """Read the name of a sending application. Raises ValueError."""
    name = text.strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ValueError(f"a sending application has 1 to {LONGEST_NAME} characters (HL7 2A, HD)")
    return name


class Hl7Server:
    """A listening socket and its connections."""

    def __init__(self, settings: Settings, apply: Apply, *, gives_way_s: float = GIVES_WAY_S) -> None:
        self.gives_way_s = gives_way_s
        if settings.hl7_port is None:
            raise ListenerError("hl7_port is not set: no ADT messages are taken")
        self._settings, self._apply = settings, apply
        self._allowed = AllowList.parse("MED3D_HL7_ALLOWED", settings.hl7_allowed, _read_name)
        self._tls = server_tls("hl7_tls", settings.hl7_tls_cert, settings.hl7_tls_key, settings.hl7_tls_client_ca)
        self._socket = listening_socket(settings.hl7_host, settings.hl7_port, BACKLOG)
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._address_of: dict[threading.Thread, str] = {}
        self._has_several = sum(one.num_addresses for one in {caller.network for caller in self._allowed.callers}) > 1
        self._idle_since: dict[threading.Thread, float] = {}
        self._refused = Tally("hl7_connections_rejected")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    @property
    def idle(self) -> int:
        """Of how many connections nothing has come since the last answer."""
        with self._lock:
            return len(self._idle_since)

    def accept(self, timeout_s: float) -> None:
        """Take one connection, if one comes in time."""
        self._socket.settimeout(timeout_s)
        try:
            connection, address = self._socket.accept()
        except OSError:  # nobody came
            return
        caller = plain_address(str(address[0]))
        because = self._hindrance(caller)
        if because is not None:
            self._refused.count(because)
            connection.close()
            return
        thread = threading.Thread(target=self._serve, args=(connection, caller), name="hl7", daemon=True)
        with self._lock:
            self._open[thread], self._address_of[thread] = connection, caller
        thread.start()

    def close(self) -> None:
        """Stop listening; a message in hand is still answered."""
        self._socket.close()
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for thread in left:
            thread.join(STOP_S)

    def _hindrance(self, address: str) -> str | None:
        if not self._allowed.admits_address(address):
            return "address_unknown"
        with self._lock:
            most = self._settings.hl7_connections
            theirs = {thread for thread, one in self._address_of.items() if one == address}
            # The last place is of another address, where there is one: nobody shuts all others out.
            if self._has_several and most > 1 and len(theirs) >= most - 1:
                crowded: Collection[threading.Thread] = theirs
                because = "address_limit"
            else:
                crowded, because = set(self._open), "local_limit"
                if len(crowded) < most:
                    return None
        return None if self._make_room(crowded) else because

    def _make_room(self, crowded: Collection[threading.Thread]) -> bool:
        """End the one that was idle for longest: a firewall may have cut it off, and its sender come anew."""
        with self._lock:
            idle = {thread: since for thread, since in self._idle_since.items() if thread in crowded}
            thread = min(idle, key=lambda one: idle[one], default=None)
            if thread is None or time.monotonic() - idle[thread] < self.gives_way_s:
                return False
            del self._idle_since[thread]
            connection = self._leave(thread)
        with suppress(OSError):
            if connection is not None:
                connection.shutdown(socket.SHUT_RDWR)
        return True

    def _leave(self, thread: threading.Thread) -> socket.socket | None:
        """Take a connection off the list; for who holds the lock."""
        self._address_of.pop(thread, None)
        return self._open.pop(thread, None)

    def _next(self, frames: Frames) -> bytes | None:
        thread = threading.current_thread()
        with self._lock:
            self._idle_since[thread] = time.monotonic()
        try:
            return frames.receive(self._settings.hl7_idle_s, lambda: self._is_busy(thread))
        finally:
            self._is_busy(thread)

    def _is_busy(self, thread: threading.Thread) -> None:
        with self._lock:
            self._idle_since.pop(thread, None)

    def _serve(self, connection: socket.socket, address: str) -> None:
        ended, messages, channel = "closed", 0, connection
        try:
            connection.settimeout(MESSAGE_S)
            if self._tls is not None:
                channel = self._secured(connection)
            frames = Frames(channel, self._settings.hl7_message_bytes, MESSAGE_S)
            while (message := self._next(frames)) is not None:
                messages += 1
                frames.send(self._answer(message, address))
        except FrameError as error:
            ended = str(error)
        except OSError as error:  # of the handshake, or the peer is gone
            ended = "tls" if isinstance(error, ssl.SSLError) else "lost"
        except Exception:  # the edge of this thread
            log.exception("hl7_broke")
            ended = "broke"
        finally:
            with self._lock:
                self._leave(threading.current_thread())
            channel.close()  # over TLS not the socket that was accepted: that one was given away
        log.info("hl7_connection_ended", how=ended, messages=messages, address=address)

    def _secured(self, connection: socket.socket) -> ssl.SSLSocket:
        assert self._tls is not None
        channel = self._tls.wrap_socket(connection, server_side=True)
        with self._lock:
            self._open[threading.current_thread()] = channel
        return channel

    def _answer(self, message: bytes, address: str) -> bytes:
        try:
            header = read_header(message)
        except MessageRefused:
            log.warning("hl7_message_refused", condition="no_header", address=address)
            return not_hl7()
        try:
            studies = self._take(header, message, address)
        except MessageRefused as refused:
            log.warning("hl7_message_refused", condition=refused.condition, address=address)
            return acknowledge(header, refused)
        log.info("hl7_message_taken", event_type=header.event, studies=studies, address=address)
        return acknowledge(header)

    def _take(self, header: Header, message: bytes, address: str) -> int:
        names = header.sender, header.sender.split(header.encoding_characters[0])[0]  # MSH-3 is APPLICATION^OID^ISO
        if not any(self._allowed.admits(name, address) for name in names):
            raise MessageRefused(REJECTED, INTERNAL, "This sending application is not on the list of allowed senders.")
        updates = read_updates(header, message)
        try:
            return self._apply(updates, header.sender, address)
        except UpdateRefusedError as error:
            raise MessageRefused(ERROR, KEY_UNKNOWN, str(error)) from error
        except Exception as error:
            log.exception("hl7_message_not_applied")  # the edge: the sender keeps it and sends it again
            raise MessageRefused(ERROR, INTERNAL, "Something broke here. Send the message again.") from error
