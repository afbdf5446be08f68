"""A study as one readable stream: a single file as it is, a folder as a tar that is made while it is being sent."""

import tarfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from med3d_contract.sent_files.archives import ArchiveRefused
from med3d_contract.sent_files.content import Content
from med3d_contract.sent_files.unpacking import InputNotReadable, content_of, first_bytes, unpacked
from med3d_contract.sent_files.unread_files import UNREAD_SUFFIXES, Unread, of_nothing_read, why_nowhere, why_unread
from med3d_contract.sent_files.volume_names import VOLUME_SUFFIXES, kept_names

CHUNK_BYTES = 256 * 1024
SENT_AS_THEY_ARE = (
    *(*VOLUME_SUFFIXES, ".zip", ".tar", ".tar.gz", ".tgz", ".dcm"),
    *(suffix + packed for suffix in UNREAD_SUFFIXES for packed in ("", ".gz")),
)


class UnsendableStudy(Exception):  # noqa: N818 - a finding about what was to be sent
    """There is nothing to send under a path, or it changed meanwhile; the message says which.

    code: as the service would have refused it.
    """

    def __init__(self, message: str, code: str = "empty_upload") -> None:
        super().__init__(message)
        self.code = code


class Readable(Protocol):
    """All that an upload needs of a file."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes; empty at the end."""
        ...


@dataclass(frozen=True)
class Upload:
    """One part of the multipart form. ``name`` is ours: the sender's file names may hold a patient's."""

    name: str
    content: Readable


@contextmanager
def open_study(path: Path) -> Iterator[Upload]:
    """Open ``path``, a file or a folder with its sub-folders, as one upload; UnsendableStudy where there is nothing.

    A DICOMDIR stands for its folder. Archives that lie in a folder are opened as `med3d analyse` opens them: the
    service takes none within another.
    """
    if path.name.upper() == "DICOMDIR" and path.is_file():
        path = path.absolute().parent  # it lists the files of its folder
    if path.is_dir():
        with _files_to_send(path) as files, closing(tar_chunks(files)) as chunks:
            yield Upload("study.tar", ChunkReader(chunks))
        return
    if _leads_nowhere(path):
        raise _unsendable(path, why_nowhere(path))
    if not path.is_file():
        raise UnsendableStudy(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise UnsendableStudy(f"{path} is empty", why_unread(path.name, b"").code)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnsendableStudy(f"{path}: {InputNotReadable(error)}", "input_not_readable") from error
    with file:
        yield Upload(f"study{sent_suffix(path)}", file)


@contextmanager
def _files_to_send(folder: Path) -> Iterator[list[Path]]:
    with ExitStack() as opened:
        try:
            paths = opened.enter_context(unpacked(folder))
        except ArchiveRefused as refused:
            raise UnsendableStudy(f"{folder}: {refused.detail} {refused.remedy}", refused.code) from refused
        except InputNotReadable as error:
            raise UnsendableStudy(f"{folder}: {error}", "input_not_readable") from error
        found = [(file, content_of(file)) for path in paths for file in study_files(path)]
        files = [file for file, content in found if not content.is_archive and content is not Content.OTHER_ARCHIVE]
        if not files:
            raise _nothing_to_send(folder, [file for file, content in found if not content.is_archive])
        yield files


def _nothing_to_send(folder: Path, left_out: Sequence[Path]) -> UnsendableStudy:
    unread = [why_unread(file.name, first_bytes(file)) for file in left_out]
    unread += [why_nowhere(file) for file in folder.rglob("*") if _leads_nowhere(file)]
    return _unsendable(folder, of_nothing_read(unread)) if unread else UnsendableStudy(f"{folder} holds no files")


def _unsendable(path: Path, unread: Unread) -> UnsendableStudy:
    return UnsendableStudy(f"{path}: {unread.reason}", unread.code)


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def study_files(folder: Path) -> list[Path]:
    """Return every file under ``folder`` in a stable order; hidden ones and linked folders are left out."""
    below = (found for found in folder.rglob("*") if found.is_file())
    return sorted(found for found in below if not any(part.startswith(".") for part in found.relative_to(folder).parts))


def sent_suffix(path: Path) -> str:
    """Return the suffix that tells the API what a file is; one that is not known is sent as DICOM."""
    return next((suffix for suffix in SENT_AS_THEY_ARE if path.name.lower().endswith(suffix)), ".dcm")


def sent_names(files: list[Path]) -> list[str]:
    """Return the names under which files are sent: they alone tell which of several volumes is T1-weighted."""
    volumes = [path for path in files if sent_suffix(path) in VOLUME_SUFFIXES]
    told = kept_names([path.as_posix() for path in volumes]) if len(volumes) > 1 else [""] * len(volumes)
    kept = dict(zip(volumes, told, strict=True))
    return [f"{number:06d}{kept.get(path, '')}{sent_suffix(path)}" for number, path in enumerate(files)]


def tar_chunks(files: list[Path]) -> Generator[bytes]:
    """Return the bytes of a tar of ``files``, named by number and volumes by what may be told of their names, too.

    Raises UnsendableStudy when one changes meanwhile.
    """
    for path, name in zip(files, sent_names(files), strict=True):
        entry = tarfile.TarInfo(name)
        entry.size = path.stat().st_size
        entry.mode = 0o600
        yield entry.tobuf(tarfile.USTAR_FORMAT)
        sent = 0
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                sent += len(chunk)
                yield chunk
        if sent != entry.size:
            raise UnsendableStudy(f"{path} changed while it was being sent; send the study again when it is complete")
        yield bytes(-sent % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


class ChunkReader:
    """Gives chunks of bytes the face of a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes (all of them when negative); empty at the end."""
        while size < 0 or len(self._left) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._left += chunk
        cut = len(self._left) if size < 0 else size
        given, self._left = self._left[:cut], self._left[cut:]
        return given
