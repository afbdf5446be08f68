"""Digests that make the same study one, however it was sent: packed, renamed, with another preamble or compression."""

import hashlib
import zlib
from collections.abc import Iterator
from typing import Protocol

from med3d_contract.sent_files.archives import UnpackMeter
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


class Inflater:
    """Gzipped data piece by piece; ``meter`` is told of every piece, packed and unpacked, and may raise.

    ``damage``: code of the ServiceError that is raised for damage, and where the data end too early.
    """

    def __init__(self, meter: UnpackMeter, damage: str = "archive_truncated") -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._meter = meter
        self._damage = damage

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Inflate the next piece. Raises ServiceError for damage."""
        self._meter.count_packed(len(data))
        try:
            while data:
                if self._inflate.eof:  # gzip files may be strung together
                    self._inflate = zlib.decompressobj(wbits=31)
                piece = self._inflate.decompress(data, 1024 * 1024)
                self._meter.count_unpacked(len(piece))
                yield piece
                data = self._inflate.unconsumed_tail or self._inflate.unused_data
        except zlib.error as error:
            raise ServiceError(self._damage) from error

    def finish(self) -> None:
        """Raise ServiceError where the data ended too early."""
        if not self._inflate.eof:
            raise ServiceError(self._damage)


class InflatedDigest:
    """SHA-256 of what a gzip file holds, so that .nii and .nii.gz of one image are one.

    Damage is nifti_truncated, as `med3d analyse` calls it: who sends an image knows of no archive.
    """

    def __init__(self, meter: UnpackMeter) -> None:
        self._digest = hashlib.sha256()
        self._inflater = Inflater(meter, damage="nifti_truncated")

    def update(self, data: bytes) -> None:
        """Take the next piece."""
        for piece in self._inflater.pieces(data):
            self._digest.update(piece)

    def finish(self) -> str:
        """Return the digest, lower-case hex."""
        self._inflater.finish()
        return self._digest.hexdigest()
