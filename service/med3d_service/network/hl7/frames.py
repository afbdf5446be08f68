"""MLLP: a message between 0x0B and 0x1C 0x0D on a TCP connection, read with bounds on its length and its time."""

import socket
import time
from collections.abc import Callable

START, END = b"\x0b", b"\x1c\r"
BETWEEN = b"\r\n"
PIECE_BYTES = 16 * 1024


class FrameError(Exception):
    """What came is no frame, too long or too slow; the connection ends. The word says which."""


class Frames:
    """Reads and writes the frames of one connection."""

    def __init__(
        self, connection: socket.socket, longest_bytes: int, whole_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._longest_bytes, self._whole_s, self._clock = longest_bytes, whole_s, clock
        self._held = bytearray()

    def receive(self, idle_s: float, begun: Callable[[], None] = lambda: None) -> bytes | None:
        """Return the next message; None where the peer has closed or was silent for ``idle_s``. Raises FrameError.

        begun: told that something of it has come. Newlines between frames, which some senders write, are nothing.
        """
        while not (held := self._held.lstrip(BETWEEN)):
            self._held.clear()  # else newlines without an end would fill the memory
            if not self._more(idle_s):
                return None
        self._held = held
        begun()
        until_s = self._clock() + self._whole_s
        while (end := self._held.find(END)) < 0:
            if self._held[:1] != START:
                raise FrameError("no_frame")
            if len(self._held) > self._longest_bytes:
                raise FrameError("too_long")
            left_s = until_s - self._clock()
            if left_s <= 0 or not self._more(left_s):
                raise FrameError("broken_off")
        if self._held[:1] != START or end > self._longest_bytes:
            raise FrameError("no_frame" if self._held[:1] != START else "too_long")
        message = bytes(self._held[1:end])
        del self._held[: end + len(END)]
        return message

    def send(self, message: bytes) -> None:
        """Send an answer."""
        self._connection.settimeout(self._whole_s)
        self._connection.sendall(START + message + END)

    def _more(self, within_s: float) -> bool:
        self._connection.settimeout(within_s)
        try:
            piece = self._connection.recv(PIECE_BYTES)
        except TimeoutError:
            return False
        self._held += piece
        return bool(piece)
