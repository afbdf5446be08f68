"""Unpacking an archive into a study: never to disk by its own names; limits are counted, the headers not believed."""

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
from typing import IO

from med3d_service.intake.content import Content
from med3d_service.intake.receiving import IncomingFile, StudyFiles
from med3d_service.problems import ServiceError
from med3d_service.sealed import SealBrokenError

PIECE_BYTES = 1024 * 1024
MAX_TAR_HEADER_BYTES = 4 * 1024 * 1024
_EOCD = struct.Struct("<4s4H2LH")
_EOCD64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY_BYTES = 46


def unpack(archive: io.BufferedIOBase, packed_bytes: int, content: Content, files: StudyFiles) -> None:
    """Unpack ``archive`` (seekable, ``packed_bytes`` long) into ``files``.

    Raises ServiceError: archive_encrypted, archive_nested, archive_truncated, archive_unsupported, archive_unsafe_path,
    archive_unsafe_member, archive_bomb, too_many_files, empty_upload.
    """
    before = files.meter.files
    with _damage_told():
        if content is Content.ZIP:
            _unpack_zip(archive, packed_bytes, files)
        elif content is Content.TAR:
            _unpack_tar(archive, packed_bytes, files)
        else:
            with GzipFile(fileobj=archive) as inflated:
                _unpack_tar(inflated, packed_bytes, files)
    if files.meter.files == before:
        raise ServiceError("empty_upload", "The archive holds no files.")


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except SealBrokenError:
        raise
    except NotImplementedError as error:
        raise ServiceError("archive_unsupported") from error
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
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the sender's
        raise ServiceError("archive_truncated") from error


def _check_path(name: str) -> None:
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in parts or "\0" in name:
        raise ServiceError("archive_unsafe_path")


# --- zip ---


def _unpack_zip(archive: io.BufferedIOBase, packed_bytes: int, files: StudyFiles) -> None:
    _check_directory(archive, packed_bytes, files.meter.limits.files)
    with zipfile.ZipFile(archive) as unzipped:
        entries = unzipped.infolist()
        for entry in entries:  # all are judged before any is unpacked
            files.meter.count_file()
            _check_zip_entry(entry)
        for entry in entries:
            if not entry.is_dir():
                incoming = IncomingFile(files)
                with unzipped.open(entry) as source:
                    while piece := source.read(PIECE_BYTES):
                        files.meter.count_unpacked(len(piece), packed_bytes)
                        incoming.write(piece)
                incoming.close()


def _check_zip_entry(entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & 0x2041:  # encrypted, strongly encrypted, directory encrypted (APPNOTE 4.4.4)
        raise ServiceError("archive_encrypted")
    _check_path(entry.orig_filename)
    if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ServiceError("archive_unsafe_member")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ServiceError("archive_unsupported")


def _check_directory(archive: io.BufferedIOBase, packed_bytes: int, max_files: int) -> None:
    """Count the entries by walking the central directory: a huge one costs no memory (APPNOTE 4.3.12 to 16)."""
    tail_bytes = min(packed_bytes, 65535 + _EOCD.size)
    archive.seek(packed_bytes - tail_bytes)
    tail = archive.read(tail_bytes)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) < found + _EOCD.size:
        raise ServiceError("archive_truncated")
    _, _, _, _, stated, directory_bytes, _, _ = _EOCD.unpack_from(tail, found)
    end = packed_bytes - tail_bytes + found
    if stated == 0xFFFF or directory_bytes == 0xFFFFFFFF:
        if tail[max(found - 20, 0) : found][:4] != b"PK\x06\x07":
            raise ServiceError("archive_truncated")
        (end,) = struct.unpack_from("<Q", tail, found - 12)
        archive.seek(end)
        *_, stated, directory_bytes, _ = _EOCD64.unpack(archive.read(_EOCD64.size))
    if stated > max_files:
        raise ServiceError("too_many_files", f"The archive holds more than {max_files} files.")
    at, count = end - directory_bytes, 0
    while at < end:
        archive.seek(at)
        header = archive.read(_ENTRY_BYTES)
        if len(header) < _ENTRY_BYTES or not header.startswith(b"PK\x01\x02"):
            break  # zipfile judges what is wrong here
        at += _ENTRY_BYTES + sum(struct.unpack_from("<3H", header, 28))
        count += 1
        if count > max_files:
            raise ServiceError("too_many_files", f"The archive holds more than {max_files} files.")


# --- tar ---


def _unpack_tar(archive: IO[bytes] | io.BufferedIOBase, packed_bytes: int, files: StudyFiles) -> None:
    stream = _TarStream(archive, packed_bytes, files)
    with tarfile.open(fileobj=stream, mode="r:", errorlevel=2) as untarred:
        while (member := untarred.next()) is not None:
            files.meter.count_file()
            untarred.members.clear()  # type: ignore[attr-defined]  # tarfile would remember them all
            _check_path(member.name)
            if member.issparse():
                raise ServiceError("archive_unsupported")
            if not (member.isreg() or member.isdir()):
                raise ServiceError("archive_unsafe_member")
            if member.isreg():
                source = untarred.extractfile(member)
                assert source is not None
                incoming = IncomingFile(files)
                while piece := source.read(PIECE_BYTES):  # counted by the stream below
                    incoming.write(piece)
                incoming.close()
    if not stream.ended:
        raise ServiceError("archive_truncated")
    stream.drain()  # to the checksum at the end of a gzip file


class _TarStream(io.RawIOBase):
    """Forward-only view of the archive that counts what is unpacked and keeps tarfile from reading a huge header."""

    def __init__(self, archive: IO[bytes] | io.BufferedIOBase, packed_bytes: int, files: StudyFiles) -> None:
        super().__init__()
        self._archive = archive
        self._packed_bytes = packed_bytes
        self._meter = files.meter
        self._at = 0
        self.ended = False  # a block of zeros came where a header was due (POSIX pax: end of archive)

    def read(self, size: int = -1) -> bytes:
        """Read exactly ``size`` bytes where there are so many."""
        if not 0 <= size <= MAX_TAR_HEADER_BYTES:
            raise ServiceError("archive_unsupported")
        data = self._archive.read(size)
        self._meter.count_unpacked(len(data), self._packed_bytes)
        self._at += len(data)
        self.ended = len(data) == tarfile.BLOCKSIZE and not any(data)
        return data

    def seekable(self) -> bool:
        """Say yes: forward is all that tarfile needs."""
        return True

    def tell(self) -> int:
        """Bytes read so far."""
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
