"""How much one request may hold, counted while it streams: sizes that an archive claims are never believed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from med3d_contract.archives import ArchiveRefused, UnpackMeter
from med3d_service.problems import ServiceError
from med3d_service.settings import Settings


@dataclass(frozen=True)
class Limits:
    """The limits of one request."""

    upload_bytes: int
    unpacked_bytes: int
    unpack_ratio: float
    files: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Take them from the settings."""
        return cls(
            settings.max_upload_bytes, settings.max_unpacked_bytes, settings.max_unpack_ratio, settings.max_files
        )


class Meter(UnpackMeter):
    """Counts what one request has brought so far."""

    limits: Limits

    def count_file(self) -> None:
        """One more file, folder or form part. Raises ServiceError("too_many_files")."""
        with archive_faults_told():
            super().count_file()

    def count_unpacked(self, size_bytes: int, packed_bytes: int) -> None:
        """Count ``size_bytes`` more from an archive of ``packed_bytes``. Raises ServiceError("archive_bomb")."""
        with archive_faults_told():
            super().count_unpacked(size_bytes, packed_bytes)


@contextmanager
def archive_faults_told() -> Iterator[None]:
    """Turn the refusal of an archive into the API's error of the same code."""
    try:
        yield
    except ArchiveRefused as refused:
        code = "empty_upload" if refused.code == "archive_empty" else refused.code
        raise ServiceError(code, refused.detail) from refused
