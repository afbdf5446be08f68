"""The identity of a study: digests that are the same however it was packed, named or compressed."""

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

GZIP_MAGIC = b"\x1f\x8b"


class UnreadableScanError(Exception):
    """A compressed file is damaged or ends early."""


def study_digest(instance_digests: Iterable[str]) -> str:
    """Digest the set of instance digests: neither order nor repetition counts."""
    return hashlib.sha256("\n".join(sorted(set(instance_digests))).encode()).hexdigest()


def named_digest(digest: str, name: str) -> str:
    """Return what a volume adds to its study's identity: among several the kept name tells, too, which is meant."""
    return f"{digest} {name}" if name else digest


def nifti_study_digest(path: Path) -> str:
    """Return the identity of a study that is one NIfTI file: its bytes, unpacked.

    Raises UnreadableScanError and OSError.
    """
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        content = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
        digest = hashlib.sha256()
        try:
            while piece := content.read(1 << 20):
                digest.update(piece)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableScanError(str(error)) from error
    return study_digest([digest.hexdigest()])
