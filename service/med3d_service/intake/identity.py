"""Digests that make the same study one, however it was sent: packed, renamed, with another preamble or compression."""

import hashlib
import zlib
from collections.abc import Callable
from typing import Protocol

from med3d_service.problems import ServiceError


class Digester(Protocol):
    """Digests one file piece by piece."""

    def update(self, data: bytes) -> None:
        """Take the next piece."""

    def finish(self) -> str:
        """Return the digest, lower-case hex."""


class TailDigest:
    """SHA-256 of a file without its first ``skip_bytes`` (DICOM: preamble and group 0002, which senders rewrite)."""

    def __init__(self, skip_bytes: int = 0) -> None:
        self._skip_bytes = skip_bytes
        self._digest = hashlib.sha256()

    def update(self, data: bytes) -> None:
        """Take the next piece."""
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(data))
            self._skip_bytes -= skipped
            data = data[skipped:]
        self._digest.update(data)

    def finish(self) -> str:
        """Return the digest, lower-case hex."""
        return self._digest.hexdigest()


class InflatedDigest:
    """SHA-256 of what a gzip file holds, so that .nii and .nii.gz of one image are one.

    ``count(unpacked, packed)`` is told of every piece and may raise. A damaged or cut file raises
    ServiceError("archive_truncated").
    """

    def __init__(self, count: Callable[[int, int], None]) -> None:
        self._digest = hashlib.sha256()
        self._inflate = zlib.decompressobj(wbits=31)
        self._count = count
        self._packed_bytes = 0

    def update(self, data: bytes) -> None:
        """Take the next piece."""
        self._packed_bytes += len(data)
        try:
            while data:
                if self._inflate.eof:  # gzip files may be strung together
                    self._inflate = zlib.decompressobj(wbits=31)
                piece = self._inflate.decompress(data, 1024 * 1024)
                self._count(len(piece), self._packed_bytes)
                self._digest.update(piece)
                data = self._inflate.unconsumed_tail or self._inflate.unused_data
        except zlib.error as error:
            raise ServiceError("archive_truncated") from error

    def finish(self) -> str:
        """Return the digest, lower-case hex."""
        if not self._inflate.eof:
            raise ServiceError("archive_truncated")
        return self._digest.hexdigest()
