"""DICOM files that come one after the other in one stream, taken in side by side while the stream goes on."""

import io
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, cast

from med3d_contract.sent_files.content import HEAD_BYTES, Content, sniff
from med3d_service.studies.arrivals.arrivals import Arrival
from med3d_service.studies.file_meta import FileMeta, read_file_meta
from med3d_service.studies.multipart import TooManyPartsError

WHOLE_BYTES = 1024 * 1024
"""An instance up to this size is held in memory and handed over whole; a larger one is handed over as it streams."""
PARALLEL = 8
MOST_STRAYS = 100
"""Parts that are no DICOM are told one by one; a stream of more of them is none of instances."""
_PIECES_AHEAD = 4

Receive = Callable[[BinaryIO | bytes], Arrival]


class StreamBrokenError(Exception):
    """The stream that an instance came in has ended before the instance."""


@dataclass(frozen=True)
class TakenPart:
    """One instance of the stream: what its file says that it is, and what became of it."""

    meta: FileMeta
    arrival: Arrival | None
    error: Exception | None


class _GrowingInstance(io.RawIOBase):
    """An instance that is read on one thread while it is written on another."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_PIECES_AHEAD)
        self._held = b""
        self._broken = threading.Event()
        self._ended = False

    def put(self, piece: bytes | None) -> None:
        """Hand over the next piece, None at the end. Waits while the reader is behind."""
        self._pieces.put(piece)

    def break_off(self) -> None:
        """Let the reader fail instead of waiting for what will not come."""
        self._broken.set()
        with self._pieces.mutex:
            self._pieces.queue.clear()
            self._pieces.queue.append(None)
            self._pieces.not_empty.notify()

    def close_reading(self) -> None:
        """Let the writer go on though nobody reads any more."""
        while not self._ended:
            self._ended = self._pieces.get() is None

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what has come, or wait for it."""
        while not self._held and not self._ended:
            piece = self._pieces.get()
            self._ended = piece is None
            self._held = piece or b""
            if self._broken.is_set():
                raise StreamBrokenError
        size_bytes = min(len(buffer), len(self._held))
        buffer[:size_bytes] = self._held[:size_bytes]
        self._held = self._held[size_bytes:]
        return size_bytes


class InstanceParts:
    """Takes the instances of one stream in, PARALLEL at a time; ``finish`` says what became of each, in their order.

    Many at once, because the store and the database write what is ready together.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive, self._strays = receive, 0
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="instance")
        self._places = threading.BoundedSemaphore(PARALLEL)
        self._taken: list[tuple[FileMeta, Future[Arrival]]] = []
        self._whole: bytearray | None = None
        self._growing: _GrowingInstance | None = None

    def begin(self) -> None:
        """Start the next instance."""
        self._whole = bytearray()

    def write(self, data: bytes) -> None:
        """Take a piece of the instance."""
        if self._growing is not None:
            self._growing.put(data)
            return
        assert self._whole is not None
        self._whole += data
        if len(self._whole) > WHOLE_BYTES:
            self._growing, head, self._whole = _GrowingInstance(), bytes(self._whole), None
            self._submit(self._look_at(head), self._growing)
            self._growing.put(head)

    def end(self) -> None:
        """End the instance."""
        if self._growing is not None:
            self._growing.put(None)
            self._growing = None
        elif self._whole is not None:
            file, self._whole = bytes(self._whole), None
            self._submit(self._look_at(file), file)

    def take(self, file: bytes) -> None:
        """Take a whole instance at once."""
        self._submit(self._look_at(file), file)

    def finish(self) -> list[TakenPart]:
        """Wait for all; every error is told, none raised."""
        parts = []
        for meta, future in self._taken:
            error = future.exception()
            assert error is None or isinstance(error, Exception)
            parts.append(TakenPart(meta, None if error is not None else future.result(), error))
        self.close()
        return parts

    def close(self) -> None:
        """Wait for what is under way; an instance that is not whole is given up."""
        if self._growing is not None:
            self._growing.break_off()
            self._growing = None
        self._pool.shutdown(wait=True)

    def _look_at(self, head: bytes) -> FileMeta:
        """Read what a file says that it is. Raises TooManyPartsError where many were no DICOM: each costs a thread."""
        if sniff(head[:HEAD_BYTES]) not in {Content.DICOM, Content.DICOM_GZ}:
            self._strays += 1
            if self._strays > MOST_STRAYS:
                raise TooManyPartsError
        return read_file_meta(head)

    def _submit(self, meta: FileMeta, file: bytes | _GrowingInstance) -> None:
        self._places.acquire()  # the sender waits rather than we fill up

        def receive() -> Arrival:
            try:
                if isinstance(file, bytes):
                    return self._receive(file)
                try:
                    return self._receive(cast("BinaryIO", io.BufferedReader(file)))
                finally:
                    file.close_reading()
            finally:
                self._places.release()

        self._taken.append((meta, self._pool.submit(receive)))
