"""Unpacking an archive: never to disk by its own names; limits are counted, the headers not believed.

The service unpacks uploads by it and `med3d analyse` what lies on the disk: what is refused here is refused by both.
"""

import io
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import GzipFile
from typing import IO, Protocol

from med3d_contract.sent_files.content import Content

PIECE_BYTES = 1024 * 1024
RATIO_FREE_BYTES = 64 * 1024**2  # an empty background compresses well; only much of it is suspicious
MAX_TAR_HEADER_BYTES = 4 * 1024 * 1024
_EOCD = struct.Struct("<4s4H2LH")
_EOCD64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY_BYTES = 46


ARCHIVE_FAULTS: dict[str, tuple[str, str]] = {
    "archive_encrypted": ("The archive is encrypted.", "Send it without a password; the connection protects it."),
    "archive_nested": ("The archive holds another archive.", "Unpack the inner one and send the files."),
    "archive_truncated": ("The archive is damaged or ends early.", "Pack and send it again."),
    "archive_unsupported": (
        "The archive uses a compression method that is not supported.",
        "Pack it as an ordinary .zip (deflate), .tar or .tar.gz.",
    ),
    "archive_unsafe_path": (
        "The archive holds an absolute path or one that leads out of it.",
        "Pack the study's folder itself, with relative paths.",
    ),
    "archive_unsafe_member": ("The archive holds a link or a device file.", "Pack regular files and folders only."),
    "archive_bomb": (
        "The archive unpacks to far more data than a study holds.",
        "Send one study per archive; leave padding and other files out.",
    ),
    "not_an_archive": (
        "A file is named like an archive but its content is none.",
        "Pack the study again as .zip, .tar or .tar.gz.",
    ),
    "archive_empty": ("The archive holds no files.", "Pack the study's folder and send it again."),
    "too_many_files": ("The upload holds too many files.", "Send one study per request, without other files."),
}
"""By code: what is wrong, and what to send instead."""


_ARCHIVE_NAME = re.compile(r"\.(zip|tar|tgz|tar\.gz|7z|rar)$", re.IGNORECASE)


def is_named_like_archive(name: str) -> bool:
    """Tell whether a file's name says that it is an archive, of whatever kind."""
    return _ARCHIVE_NAME.search(name) is not None


class ArchiveRefused(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """The archive is not unpacked. code: one of ARCHIVE_FAULTS; detail: what was seen."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.detail, self.remedy = detail or ARCHIVE_FAULTS[code][0], ARCHIVE_FAULTS[code][1]


class UnpackLimits(Protocol):
    """How much may come out of the archives of one study."""

    @property
    def unpacked_bytes(self) -> int:
        """All files together."""

    @property
    def unpack_ratio(self) -> float:
        """Unpacked to packed bytes, looked at above RATIO_FREE_BYTES."""

    @property
    def files(self) -> int:
        """Files and folders."""


class UnpackMeter:
    """Counts what one study has brought so far: sizes that an archive claims are never believed."""

    def __init__(self, limits: UnpackLimits) -> None:
        self.limits = limits
        self.files = 0
        self._packed_bytes = 0
        self._unpacked_bytes = 0

    def count_file(self) -> None:
        """Count one more file, folder or form part. Raises ArchiveRefused("too_many_files")."""
        self.files += 1
        if self.files > self.limits.files:
            raise ArchiveRefused("too_many_files", f"The upload holds more than {self.limits.files} files.")

    def count_packed(self, size_bytes: int) -> None:
        """Count ``size_bytes`` more that were packed: of an archive, or of a packed file, before they are unpacked.

        What is unpacked is held against all of them: a small file that comes late is not to answer for the large ones.
        """
        self._packed_bytes += size_bytes

    def count_unpacked(self, size_bytes: int) -> None:
        """Count ``size_bytes`` more that came out of what was packed. Raises ArchiveRefused("archive_bomb")."""
        self._unpacked_bytes += size_bytes
        suspicious = self._unpacked_bytes > RATIO_FREE_BYTES
        if self._unpacked_bytes > self.limits.unpacked_bytes or (
            suspicious and self._unpacked_bytes > self.limits.unpack_ratio * max(self._packed_bytes, 1)
        ):
            raise ArchiveRefused("archive_bomb")


class FileSink(Protocol):
    """Takes one file of an archive, piece by piece."""

    def write(self, data: bytes) -> object:
        """Take the next piece."""

    def close(self) -> None:
        """End the file."""


class Unpacking(Protocol):
    """Where the files of an archive go."""

    @property
    def meter(self) -> UnpackMeter:
        """What has come so far."""

    def open_file(self, name: str) -> FileSink:
        """Begin a file; ``name`` is the archive's word for it, and no path to write to."""


def unpack(archive: io.BufferedIOBase, packed_bytes: int, content: Content, files: Unpacking) -> None:
    """Unpack ``archive`` (seekable, ``packed_bytes`` long) into ``files``.

    Raises ArchiveRefused: archive_encrypted, archive_truncated, archive_unsupported, archive_unsafe_path,
    archive_unsafe_member, archive_bomb, archive_empty, too_many_files; and what ``files`` raises.
    """
    before = files.meter.files
    files.meter.count_packed(packed_bytes)
    with _damage_told():
        if content is Content.ZIP:
            _unpack_zip(archive, packed_bytes, files)
        elif content is Content.TAR:
            _unpack_tar(archive, files)
        else:
            with GzipFile(fileobj=archive) as inflated:
                _unpack_tar(inflated, files)
    if files.meter.files == before:
        raise ArchiveRefused("archive_empty")


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:
        raise ArchiveRefused("archive_unsupported") from error
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        OSError,
        struct.error,
        UnicodeError,
        ValueError,
        OverflowError,
        RecursionError,  # tarfile reads a header that belongs to the next one within itself
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the sender's
        raise ArchiveRefused("archive_truncated") from error


def _check_path(name: str) -> None:
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in parts or "\0" in name:
        raise ArchiveRefused("archive_unsafe_path")


# --- zip ---


def _unpack_zip(archive: io.BufferedIOBase, packed_bytes: int, files: Unpacking) -> None:
    _check_directory(archive, packed_bytes, files.meter.limits.files)
    with zipfile.ZipFile(archive) as unzipped:
        entries = unzipped.infolist()
        for entry in entries:  # all are judged before any is unpacked
            files.meter.count_file()
            _check_zip_entry(entry)
        for entry in entries:
            if not entry.is_dir():
                incoming = files.open_file(entry.filename)
                with unzipped.open(entry) as source:
                    while piece := source.read(PIECE_BYTES):
                        files.meter.count_unpacked(len(piece))
                        incoming.write(piece)
                incoming.close()


def _check_zip_entry(entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & 0x2041:  # encrypted, strongly encrypted, directory encrypted (APPNOTE 4.4.4)
        raise ArchiveRefused("archive_encrypted")
    _check_path(entry.orig_filename)
    if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ArchiveRefused("archive_unsafe_member")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArchiveRefused("archive_unsupported")


def _check_directory(archive: io.BufferedIOBase, packed_bytes: int, max_files: int) -> None:
    """Count the entries by walking the central directory: a huge one costs no memory (APPNOTE 4.3.12 to 16)."""
    tail_bytes = min(packed_bytes, 65535 + _EOCD.size)
    archive.seek(packed_bytes - tail_bytes)
    tail = archive.read(tail_bytes)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) < found + _EOCD.size:
        raise ArchiveRefused("archive_truncated")
    _, _, _, _, stated, directory_bytes, _, _ = _EOCD.unpack_from(tail, found)
    end = packed_bytes - tail_bytes + found
    if stated == 0xFFFF or directory_bytes == 0xFFFFFFFF:
        if tail[max(found - 20, 0) : found][:4] != b"PK\x06\x07":
            raise ArchiveRefused("archive_truncated")
        (end,) = struct.unpack_from("<Q", tail, found - 12)
        archive.seek(end)
        *_, stated, directory_bytes, _ = _EOCD64.unpack(archive.read(_EOCD64.size))
    if stated > max_files:
        raise ArchiveRefused("too_many_files", f"The archive holds more than {max_files} files.")
    at, count = end - directory_bytes, 0
    while at < end:
        archive.seek(at)
        header = archive.read(_ENTRY_BYTES)
        if len(header) < _ENTRY_BYTES or not header.startswith(b"PK\x01\x02"):
            break  # zipfile judges what is wrong here
        at += _ENTRY_BYTES + sum(struct.unpack_from("<3H", header, 28))
        count += 1
        if count > max_files:
            raise ArchiveRefused("too_many_files", f"The archive holds more than {max_files} files.")


# --- tar ---


def _unpack_tar(archive: IO[bytes] | io.BufferedIOBase, files: Unpacking) -> None:
    stream = _TarStream(archive, files)
    with tarfile.open(fileobj=stream, mode="r:", errorlevel=2) as untarred:
        while (member := untarred.next()) is not None:
            files.meter.count_file()
            untarred.members.clear()  # type: ignore[attr-defined]  # tarfile would remember them all
            _check_path(member.name)
            if member.issparse():
                raise ArchiveRefused("archive_unsupported")
            if not (member.isreg() or member.isdir()):
                raise ArchiveRefused("archive_unsafe_member")
            if member.isreg():
                source = untarred.extractfile(member)
                assert source is not None
                incoming = files.open_file(member.name)
                while piece := source.read(PIECE_BYTES):  # counted by the stream below
                    incoming.write(piece)
                incoming.close()
    if not stream.ended:
        raise ArchiveRefused("archive_truncated")
    stream.drain()  # to the checksum at the end of a gzip file


class _TarStream(io.RawIOBase):
    """Forward-only view of the archive that counts what is unpacked and keeps tarfile from reading a huge header."""

    def __init__(self, archive: IO[bytes] | io.BufferedIOBase, files: Unpacking) -> None:
        super().__init__()
        self._archive = archive
        self._meter = files.meter
        self._at = 0
        self.ended = False  # a block of zeros came where a header was due (POSIX pax: end of archive)

    def read(self, size: int = -1) -> bytes:
        """Read exactly ``size`` bytes where there are so many."""
        if not 0 <= size <= MAX_TAR_HEADER_BYTES:
            raise ArchiveRefused("archive_unsupported")
        data = self._archive.read(size)
        self._meter.count_unpacked(len(data))
        self._at += len(data)
        self.ended = len(data) == tarfile.BLOCKSIZE and not any(data)
        return data

    def seekable(self) -> bool:
        """Say yes: forward is all that tarfile needs."""
        return True

    def tell(self) -> int:
        """Return bytes read so far."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go forward by reading."""
        assert whence == io.SEEK_SET
        if offset < self._at:
            raise tarfile.ReadError("a header points backwards")
        while self._at < offset and self.read(min(offset - self._at, PIECE_BYTES)):
            pass
        return self._at

    def drain(self) -> None:
        """Read what is left."""
        while self.read(PIECE_BYTES):
            pass
