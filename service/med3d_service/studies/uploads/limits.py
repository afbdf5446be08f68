"""How much one request may hold, counted while it streams: sizes that an archive claims are never believed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from med3d_contract.sent_files.archives import ArchiveRefused, UnpackMeter
from med3d_service.problems import ServiceError
from med3d_service.settings import Settings

LOOKED_EVERY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """The limits of one request."""

    upload_bytes: int
    unpacked_bytes: int
    unpack_ratio: float
    files: int
    reserve_bytes: int = 0
    reserved_in: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Take them from the settings."""
        return cls(
            upload_bytes=settings.max_upload_bytes,
            unpacked_bytes=settings.max_unpacked_bytes,
            unpack_ratio=settings.max_unpack_ratio,
            files=settings.max_files,
            reserve_bytes=settings.reserve_bytes,
            reserved_in=settings.spool_dir,
        )


class Meter(UnpackMeter):
    """Counts what one request has brought so far."""

    limits: Limits
    _unlooked_bytes = 0

    def require_room(self) -> None:
        """Leave the reserve of the disk alone. Raises ServiceError("disk_full")."""
        self._unlooked_bytes = 0
        folder = self.limits.reserved_in
        if folder is not None and shutil.disk_usage(folder).free < self.limits.reserve_bytes:
            raise ServiceError("disk_full")

    def count_file(self) -> None:
        """Count one more file, folder or form part. Raises ServiceError("too_many_files")."""
        with archive_faults_told():
            super().count_file()

    def count_unpacked(self, size_bytes: int) -> None:
        """Count ``size_bytes`` more that came out of what was packed. Raises ServiceError: archive_bomb, disk_full."""
        self._unlooked_bytes += size_bytes
        if self._unlooked_bytes > LOOKED_EVERY_BYTES:
            self.require_room()
        with archive_faults_told():
            super().count_unpacked(size_bytes)


@contextmanager
def archive_faults_told() -> Iterator[None]:
    """Turn the refusal of an archive into the API's error of the same code."""
    try:
        yield
    except ArchiveRefused as refused:
        raise ServiceError(refused.code, refused.detail) from refused
