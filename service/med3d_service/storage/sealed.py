"""Sealed files: a plaintext stream as AES-256-GCM chunks, readable at any place, and impossible to cut or reorder.

A file opens only under the name that it was sealed with (``ObjectName``): it cannot stand in for another one. Files of
the first format carry no name; they are read only where their digest is known, and is theirs.

Layout: magic (8), salt (16), chunks. A chunk is up to 1 MiB of plaintext, encrypted, and its 16-byte tag; its nonce is
its number and whether it is the last (the STREAM construction: Hoang, Reyhanitabar, Rogaway, Vizar, CRYPTO 2015). The
key of a file is derived from the site's key and the file's random salt, so a nonce never meets the same key twice.
"""

import hashlib
import io
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from med3d_service.storage.keys import derive

MAGIC = b"M3DSEAL2"
NAMELESS_MAGIC = b"M3DSEAL1"
"""Of files that releases up to 0.2.0 sealed: their chunks are bound to each other, and to no name."""
SALT_BYTES = 16
HEADER_BYTES = len(MAGIC) + SALT_BYTES
TAG_BYTES = 16
CHUNK_BYTES = 1024 * 1024
FIRST_PIECE_BYTES = HEADER_BYTES + CHUNK_BYTES + TAG_BYTES


class SealBrokenError(Exception):
    """The file was altered or cut, or another site's key sealed it."""


@dataclass(frozen=True)
class ObjectName:
    """What a sealed file is, where it lies and whose it is: it opens as nothing else."""

    kind: str  # original, report, or archive (which waits in the spool)
    key: str  # in the store
    site: str

    def bound(self) -> bytes:
        """Return the name as associated data of every chunk."""
        return b"\0".join((MAGIC, self.kind.encode(), self.key.encode(), self.site.encode()))


def file_key(path: Path, key: bytes) -> bytes:
    """Derive the key of one sealed file, which opens no other. Raises FileNotFoundError."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    return derive(key, "sealed-file", header[len(MAGIC) :])


def opens_first_chunk(start: bytes, size_bytes: int, key: bytes, name: ObjectName) -> bool:
    """Say whether a file was sealed under ``key`` and ``name``, by its first ``FIRST_PIECE_BYTES`` and its size."""
    header, sealed = start[:HEADER_BYTES], start[HEADER_BYTES:FIRST_PIECE_BYTES]
    if header[: len(MAGIC)] != MAGIC:
        return False
    cipher = AESGCM(derive(key, "sealed-file", header[len(MAGIC) :]))
    try:
        cipher.decrypt(_nonce(0, size_bytes <= FIRST_PIECE_BYTES), sealed, name.bound())
    except (InvalidTag, ValueError):
        return False
    return True


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


class SealedWriter:
    """Writes one sealed file. ``sha256`` is the digest of the file as it lies on disk, complete after ``close``."""

    def __init__(self, path: Path, key: bytes, name: ObjectName, flags: int = os.O_CREAT | os.O_EXCL) -> None:
        """Open ``path``, a new file unless ``flags`` say otherwise. Raises OSError."""
        self.path, self._bound = path, name.bound()
        self.size_bytes = 0  # of the plaintext so far
        self._file = os.fdopen(os.open(path, os.O_WRONLY | flags, 0o600), "wb")
        salt = os.urandom(SALT_BYTES)
        self._cipher = AESGCM(derive(key, "sealed-file", salt))
        self._digest = hashlib.sha256()
        self._number = 0
        self._pending = bytearray()
        self._put(MAGIC + salt)

    def write(self, data: bytes | memoryview) -> None:
        """Append plaintext."""
        self.size_bytes += len(data)
        self._pending += data
        while len(self._pending) > CHUNK_BYTES:  # the last chunk may be full, so it is known only at the end
            self._seal(bytes(self._pending[:CHUNK_BYTES]), last=False)
            del self._pending[:CHUNK_BYTES]

    def close(self) -> None:
        """Seal the last chunk and close the file."""
        if self._file.closed:
            return
        self._seal(bytes(self._pending), last=True)
        self._pending.clear()
        self._file.flush()
        self._file.close()

    def discard(self) -> None:
        """Remove the file, also where closing it says once more that the disk is full."""
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """Digest of the bytes on disk, lower-case hex."""
        return self._digest.hexdigest()

    def _seal(self, plaintext: bytes, *, last: bool) -> None:
        self._put(self._cipher.encrypt(_nonce(self._number, last), plaintext, self._bound))
        self._number += 1

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


class SealedReader(io.RawIOBase):
    """Reads a sealed file's plaintext, seekable. Raises SealBrokenError on the first chunk that is not as written.

    ``sha256``: the file's recorded digest, which is compared first; None where it lies here since a moment ago.
    """

    @classmethod
    def by_file_key(cls, path: Path, key: bytes, name: ObjectName, sha256: str) -> Self:
        """Read with the key of this file (``file_key``), as those do who must not be able to open any other."""
        return cls(path, key, name, sha256, is_file_key=True)

    def __init__(
        self, path: Path, key: bytes, name: ObjectName, sha256: str | None, *, is_file_key: bool = False
    ) -> None:
        super().__init__()
        self._is_file_key = is_file_key
        self._file = path.open("rb")
        try:
            self._open(key, name, sha256)
        except BaseException:
            self._file.close()
            raise

    def _open(self, key: bytes, name: ObjectName, sha256: str | None) -> None:
        if sha256 is not None:  # through the descriptor that is read afterwards: what is renamed to its place is not
            if hashlib.file_digest(self._file, "sha256").hexdigest() != sha256:
                raise SealBrokenError("not the file that was recorded")
            self._file.seek(0)
        body = os.fstat(self._file.fileno()).st_size - HEADER_BYTES
        header = self._file.read(HEADER_BYTES)
        magic, salt = header[: len(MAGIC)], header[len(MAGIC) :]
        if len(header) != HEADER_BYTES or magic not in {MAGIC, NAMELESS_MAGIC} or body < TAG_BYTES:
            raise SealBrokenError("not a sealed file")
        if magic == NAMELESS_MAGIC and sha256 is None:
            raise SealBrokenError("sealed without a name, and no digest says that it is this one")
        self._bound = name.bound() if magic == MAGIC else NAMELESS_MAGIC
        self._cipher = AESGCM(key if self._is_file_key else derive(key, "sealed-file", salt))
        self._chunks = -(-body // (CHUNK_BYTES + TAG_BYTES))
        self.size_bytes = body - self._chunks * TAG_BYTES
        self._at = 0
        self._held: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Place in the plaintext."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the plaintext."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read plaintext up to the end of the chunk in hand."""
        if self._at >= self.size_bytes:
            if self.size_bytes == 0:
                self._chunk(0)  # an empty file is sealed, too
            return 0
        number, start = divmod(self._at, CHUNK_BYTES)
        piece = self._chunk(number)[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _chunk(self, number: int) -> bytes:
        if self._held[0] != number:
            self._file.seek(HEADER_BYTES + number * (CHUNK_BYTES + TAG_BYTES))
            sealed = self._file.read(CHUNK_BYTES + TAG_BYTES)
            try:
                plaintext = self._cipher.decrypt(_nonce(number, number == self._chunks - 1), sealed, self._bound)
            except InvalidTag as error:
                raise SealBrokenError(f"chunk {number} is not as it was written") from error
            self._held = (number, plaintext)
        return self._held[1]

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
