"""Archives on this disk, unpacked into a private folder by the rules of uploads: to be analysed or sent."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from med3d_contract.sent_files.archives import ArchiveRefused, UnpackMeter, is_named_like_archive, unpack
from med3d_contract.sent_files.content import HEAD_BYTES, Content, sniff

GIB = 1024**3
SNIFFED_BYTES = 4096
LONGEST_NAME_BYTES = 240
_LABEL = re.compile(r"(?:^|[/\\_])((sub|ses)-[A-Za-z0-9]+)")  # of BIDS: whose head it is, and of which visit


@dataclass(frozen=True)
class LocalLimits:
    """As much as the service takes of one request by default."""

    unpacked_bytes: int = 16 * GIB
    unpack_ratio: float = 100.0
    files: int = 50_000


class InputNotReadable(Exception):  # noqa: N818 - a finding about what was given
    """A part of what was given cannot be read here: without it the rest may be another study."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"A file or folder of the input cannot be read here ({error.strerror}). Make all of it readable: what "
            "a part of a study shows may not be what the whole does."
        )


@contextmanager
def unpacked(path: Path) -> Iterator[list[Path]]:
    """Give what to read for the study at ``path``: itself, and a folder with what its archives hold.

    An archive may be the input, or lie in the folder that is. The folder of unpacked files is gone afterwards.

    Raises ArchiveRefused with the codes of uploads: archive_nested for an archive in an archive, not_an_archive for a
    file that is only named so. Raises InputNotReadable where a file or folder is closed to us, or the input is gone.
    """
    try:
        path.lstat()
        if path.is_file() and is_named_like_archive(path.name) and content_of(path) is Content.OTHER:
            raise ArchiveRefused("not_an_archive")
        archives = [found for found in _files(path) if content_of(found).is_archive]
    except OSError as error:
        raise InputNotReadable(error) from error
    if not archives:
        yield [path]
        return
    with tempfile.TemporaryDirectory(prefix="med3d-") as folder:  # mode 0700
        with ExitStack() as opened:
            meter = UnpackMeter(LocalLimits())
            for number, archive in enumerate(archives):
                files = _UnpackedFiles(Path(folder, str(number)), archive.relative_to(path.parent), meter, opened)
                packed = opened.enter_context(archive.open("rb"))
                unpack(packed, archive.stat().st_size, content_of(archive), files)
        yield [Path(folder)] if archives == [path] else [path, Path(folder)]


def _files(path: Path) -> list[Path]:
    return sorted(found for found in (_below(path) if path.is_dir() else [path]) if found.is_file())


def _below(folder: Path) -> Iterator[Path]:
    """Yield what lies below, as ``rglob`` does, which passes over folders that it may not read. Raises OSError."""
    for place, _, names in os.walk(folder, onerror=_stop):
        yield from (Path(place, name) for name in names)


def _stop(error: OSError) -> None:
    raise error


def content_of(path: Path) -> Content:
    """Tell what a file is by its first bytes."""
    return sniff(first_bytes(path))


def first_bytes(path: Path) -> bytes:
    """Read enough of a file to tell what it is."""
    with path.open("rb") as file:
        return file.read(SNIFFED_BYTES)


class _UnpackedFiles:
    """Files of one archive, each in a folder of its own, so that no two meet and a name begins as it was given.

    Of a sender's path the file's name is kept, as far as no path is made of it, and the last subject and session label.
    """

    def __init__(self, folder: Path, archive: Path, meter: UnpackMeter, opened: ExitStack) -> None:
        self.meter = meter
        self._folder = folder
        self._archive = archive
        self._opened = opened  # closes what is under way when a refusal ends it
        self._count = 0

    def open_file(self, name: str) -> "_UnpackedFile":
        """Begin a file."""
        self._count += 1
        labels = {kind: label for label, kind in _LABEL.findall(f"{self._archive.as_posix()}/{name}")}
        folder = self._folder.joinpath(f"{self._count:05d}", *(labels[kind] for kind in sorted(labels, reverse=True)))
        folder.mkdir(parents=True)
        file = (folder / _kept_name(name)).open("xb")
        self._opened.callback(file.close)
        return _UnpackedFile(file)


def _kept_name(name: str) -> str:
    letters = re.sub(r"[^\w .,()+=@-]", "", re.split(r"[/\\]", name)[-1])
    kept = letters.encode()[-LONGEST_NAME_BYTES:].decode(errors="ignore")
    return kept if kept.strip(" .") else "file"


class _UnpackedFile:
    """One file under way; an archive is none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._head: bytes | None = b""

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        self._file.write(data)
        if self._head is not None:
            self._head += data
            if len(self._head) >= HEAD_BYTES:
                self._judge()

    def close(self) -> None:
        """End the file."""
        self._file.close()
        if self._head is not None:
            self._judge()

    def _judge(self) -> None:
        head, self._head = self._head or b"", None
        content = sniff(head)
        if content.is_archive or content is Content.OTHER_ARCHIVE:
            raise ArchiveRefused("archive_nested")
