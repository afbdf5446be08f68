"""Protocol data units (PS3.8 9.3) on a socket: read whole or not at all, and never believed about their length."""

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

LONGEST_BYTES = 1024 * 1024
"""Of a PDU that we take; what we announce is shorter, so that only nonsense is longer."""
ANNOUNCED_BYTES = 256 * 1024
# Senders that write a PDU in pieces (dcmtk does) are held up 40 ms by Nagle's algorithm until what they have sent is
# acknowledged. Elsewhere than on Linux TCP_NODELAY, which is set anyway, stands in for it.
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY)
LAST_WORDS_S = 2.0
CHUNK_BYTES = 65536
MOST_PATIENCE = 2
"""A PDU that is not whole after so many times the idle time is not waited for: even 1 MB on a slow line needs less."""
_HEAD = struct.Struct(">BxI")
_PDV_HEAD = struct.Struct(">IBB")


class PduType(IntEnum):
    """PS3.8 table 9-1 and following."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class ConnectionEndedError(Exception):
    """The peer went away, aborted, or was silent for too long."""


class ProtocolError(Exception):
    """The peer sent what makes no sense here: the association is aborted."""


@dataclass(frozen=True)
class Fragment:
    """A presentation data value: a piece of a command set or of a data set."""

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


class PduSocket:
    """A connected socket, spoken to in PDUs. Timeouts are the socket's own."""

    def __init__(self, connection: socket.socket, idle_s: float) -> None:
        self._connection = connection
        self._idle_s = idle_s
        self._flags = 0
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(idle_s)
            return
        # The kernel's own timeouts and MSG_WAITALL: one sleep and one waking for a PDU, however many segments it has.
        connection.settimeout(None)
        limit = struct.pack("@ll", int(idle_s), int(idle_s % 1 * 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._flags = socket.MSG_WAITALL

    def receive(self) -> tuple[int, memoryview]:
        """Return type and body of the next PDU. Raises ConnectionEndedError, ProtocolError."""
        kind, length = _HEAD.unpack(self._exactly(_HEAD.size))
        if not PduType.ASSOCIATE_RQ <= kind <= PduType.ABORT or length > LONGEST_BYTES:
            raise ProtocolError("no PDU")
        return kind, self._exactly(length)

    def send(self, pdu: bytes) -> None:
        """Send a whole PDU. Raises ConnectionEndedError."""
        try:
            self._connection.sendall(pdu)
        except OSError as error:
            raise ConnectionEndedError from error

    def send_last(self, pdu: bytes) -> None:
        """Send a PDU after which there is nothing to say, and let the peer close, as PS3.8's ARTIM timer does.

        Closing at once, with bytes of the peer unread, would take the PDU back from its network.
        """
        try:
            self._connection.sendall(pdu)
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(LAST_WORDS_S)
            left = LONGEST_BYTES
            while left > 0 and (received := len(self._connection.recv(CHUNK_BYTES))):
                left -= received
        except OSError:
            return

    def _exactly(self, count: int) -> memoryview:
        buffer = memoryview(bytearray(count))
        filled, until = 0, time.monotonic() + MOST_PATIENCE * self._idle_s
        while filled < count:
            if time.monotonic() > until:  # a byte now and then would hold a place for ever
                raise ConnectionEndedError
            try:
                self._connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)  # holds for the next segments only
                received = self._connection.recv_into(buffer[filled:], 0, self._flags)
            except OSError as error:  # timeouts and TLS errors are such, too
                raise ConnectionEndedError from error
            if not received:
                raise ConnectionEndedError
            filled += received
        return buffer


def fragments(body: memoryview) -> Iterator[Fragment]:
    """Return the presentation data values of a P-DATA-TF's body (PS3.8 9.3.5.1). Raises ProtocolError."""
    at = 0
    while at < len(body):
        if at + _PDV_HEAD.size > len(body):
            raise ProtocolError("a presentation data value is cut")
        length, context_id, control = _PDV_HEAD.unpack_from(body, at)
        end = at + 4 + length
        if length < 2 or end > len(body):
            raise ProtocolError("a presentation data value is longer than its PDU")
        yield Fragment(context_id, bool(control & 1), bool(control & 2), body[at + _PDV_HEAD.size : end])
        at = end


def command_pdu(context_id: int, command: bytes) -> bytes:
    """Wrap a command set, which is always short enough for one PDU."""
    value = _PDV_HEAD.pack(len(command) + 2, context_id, 3) + command
    return _HEAD.pack(PduType.DATA, len(value)) + value


def release_reply() -> bytes:
    """Return an A-RELEASE-RP."""
    return _HEAD.pack(PduType.RELEASE_RP, 4) + bytes(4)


def abort(reason: int = 0) -> bytes:
    """Return an A-ABORT by the service provider (PS3.8 table 9-26)."""
    return _HEAD.pack(PduType.ABORT, 4) + bytes((0, 0, 2, reason))


def reject(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
    return _HEAD.pack(PduType.ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))
