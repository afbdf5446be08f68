"""How much one request may hold, counted while it streams: sizes that an archive claims are never believed."""

from dataclasses import dataclass

from med3d_service.problems import ServiceError
from med3d_service.settings import Settings

RATIO_FREE_BYTES = 64 * 1024**2  # an empty background compresses well; only much of it is suspicious


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


class Meter:
    """Counts what one request has brought so far."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.files = 0
        self._unpacked_bytes = 0

    def count_file(self) -> None:
        """One more file, folder or form part. Raises ServiceError("too_many_files")."""
        self.files += 1
        if self.files > self.limits.files:
            raise ServiceError("too_many_files", f"The upload holds more than {self.limits.files} files.")

    def count_unpacked(self, size_bytes: int, packed_bytes: int) -> None:
        """Count ``size_bytes`` more from an archive of ``packed_bytes``. Raises ServiceError("archive_bomb")."""
        self._unpacked_bytes += size_bytes
        suspicious = self._unpacked_bytes > RATIO_FREE_BYTES
        if self._unpacked_bytes > self.limits.unpacked_bytes or (
            suspicious and self._unpacked_bytes > self.limits.unpack_ratio * max(packed_bytes, 1)
        ):
            raise ServiceError("archive_bomb")
