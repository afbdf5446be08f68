"""The object store that the service and its workers share: a local folder (file://) or S3 (s3://), over obstore.

A local write is in place only when it is whole and on disk: written aside, fsync'ed, renamed, and the folders fsync'ed.
A local store carries a marker with an id of its own: a folder that vanished, is not mounted or is another one is never
taken for it, nor made anew. Keys are plain relative paths; what would leave the store is refused. A digest given to a
read is checked.
"""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
import obstore.exceptions
import obstore.store

from med3d_store.errors import (
    InvalidKeyError,
    ObjectDamagedError,
    ObjectMissingError,
    StoreAwayError,
    StoreChangedError,
    StoreError,
    StoreFullError,
    translated,
)
from med3d_store.marker import MARKER, make_folder, read_marker, write_marker

__all__ = [
    "InvalidKeyError",
    "ObjectDamagedError",
    "ObjectInfo",
    "ObjectMissingError",
    "ObjectStore",
    "StoreAwayError",
    "StoreChangedError",
    "StoreError",
    "StoreFullError",
    "StoredObject",
    "checked_key",
    "file_sha256",
]

CHUNK_BYTES = 1024 * 1024
_ASIDE = ".aside"
_NO_MARKER_DOES = "/"
"""No id, so that a folder without a marker is not what is looked for."""


@dataclass(frozen=True)
class StoredObject:
    """An object in place. ``sha256`` is in lower-case hex."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ObjectInfo:
    """What the store itself knows of an object."""

    key: str
    size_bytes: int
    modified_at: datetime


def checked_key(key: str) -> str:
    """Return ``key``. Raises InvalidKeyError unless it is a relative path of printable ASCII without ``..``."""
    parts = key.split("/")
    printable = key.isascii() and key.isprintable() and "\\" not in key
    if not printable or key == MARKER or any(part in {"", ".", "..", _ASIDE} for part in parts):
        raise InvalidKeyError("an object key is a relative path of printable ASCII without '.' and '..'")
    return key


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return SHA-256 of a file in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ObjectStore:
    """Objects by key. Made by ``ObjectStore.open`` or ``make``; safe to share between threads."""

    def __init__(
        self,
        backend: Any,
        root: Path | None,
        sync: Callable[[Path], None],
        expected: Callable[[], str | None],
    ) -> None:
        self._opened = backend  # None of a local store whose folder is not there yet
        self._sync = sync
        self._expected, self._identity = expected, ""
        self._unmarked = ""  # what a folder without a marker must show to be used
        self._root = root  # of a local store, whose writes are fsync'ed
        self._made: set[Path] = set()  # folders known to be on disk

    @classmethod
    def open(
        cls,
        url: str,
        *,
        sync: Callable[[Path], None] = _sync,
        expected: Callable[[], str | None] = lambda: None,
        **options: Any,
    ) -> "ObjectStore":
        """Open ``file:///folder`` or ``s3://bucket/prefix``. ``sync`` is fsync of a file or folder.

        A folder that is not there is no fault yet, but each use is until it comes. ``expected`` says whose marker it
        must carry, if that is known; else it is the one that is found first. ``options`` go to obstore (``config``,
        ``client_options``); S3 credentials are read from the environment as in every AWS client.
        Raises StoreError for another scheme, or no bucket.
        """
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path:
            return cls(None, Path(unquote(parts.path)), sync, expected)
        if parts.scheme == "s3":
            try:
                return cls(obstore.store.from_url(url, **options), None, sync, expected)
            except (obstore.exceptions.BaseError, ValueError) as error:
                raise StoreError("it is no s3://bucket/prefix") from error
        raise StoreError(f"a store is file:///folder or s3://bucket/prefix, not {parts.scheme}://")

    @classmethod
    def join(cls, url: str) -> "ObjectStore":
        """Open a store that another process has made: a folder without a marker is none, whatever lies in it.

        It holds on to the marker that it sees first. Raises StoreError for another scheme.
        """
        store = cls.open(url)
        store._unmarked = _NO_MARKER_DOES  # noqa: SLF001 - its own
        return store

    @classmethod
    def make(cls, url: str, *, sync: Callable[[Path], None] = _sync, **options: Any) -> "ObjectStore":
        """Open a store as ``open`` does, and make its folder and its marker where there are none."""
        made, store = uuid.uuid4().hex, cls.open(url, sync=sync, **options)
        if (root := store.local_root) is not None:
            make_folder(root, sync)
            with translated():
                write_marker(root, made, sync)
        elif store.identity() is None:
            with translated():
                obstore.put(store._backend, MARKER, made.encode())  # noqa: SLF001 - its own
        return store

    @property
    def local_root(self) -> Path | None:
        """The folder of a local store; None for a store that is elsewhere."""
        return self._root

    @property
    def _backend(self) -> Any:
        if self._opened is None:
            assert self._root is not None
            if not self._root.is_dir():
                raise StoreChangedError("the store's folder is not there")
            self._opened = obstore.store.LocalStore(prefix=self._root)
        return self._opened

    def identity(self) -> str | None:
        """Return the id in the store's marker; None where there is no marker. Raises StoreError."""
        if self._root is None:
            try:
                with translated():
                    return bytes(obstore.get(self._backend, MARKER).bytes()).decode("ascii", "replace").strip()
            except ObjectMissingError:
                return None
        return read_marker(self._root)

    def is_empty(self) -> bool:
        """Tell whether no object is there."""
        if self._root is not None and not self._root.is_dir():
            return True
        with translated():
            names = (meta["path"] for batch in obstore.list(self._backend) for meta in batch)
            return all(name == MARKER for name in names)

    def _require_same(self) -> None:
        """Raise StoreChangedError where the folder is not the store that it was. Of S3 only ``check`` looks."""
        if self._root is None:
            return
        found = self.identity()
        known = self._identity or self._expected() or found or self._unmarked
        if not self._root.is_dir() or (found or "") != known:
            raise StoreChangedError("where the store was there is none, or another one")
        self._identity = known

    def put(self, key: str, data: bytes) -> StoredObject:
        """Store ``data`` under ``key``, in place of what was there."""
        stored = StoredObject(checked_key(key), hashlib.sha256(data).hexdigest(), len(data))
        self._require_same()
        with translated():
            if self._root is None:
                obstore.put(self._backend, key, data)
                return stored
            aside = f"{_ASIDE}/{uuid.uuid4().hex}"
            obstore.put(self._backend, aside, data)
            self._settle(self._root / aside, key)
        return stored

    def put_file(self, key: str, path: Path, *, sha256: str | None = None) -> StoredObject:
        """Move the local file ``path`` into the store; it is gone afterwards. Raises StoreAwayError, leaving nothing.

        A caller that digested the bytes as it wrote them passes ``sha256``, which spares reading them again.
        """
        stored = StoredObject(checked_key(key), sha256 or file_sha256(path), path.stat().st_size)
        self._require_same()
        with translated():
            if self._root is None:
                obstore.put(self._backend, key, path)
                path.unlink()
            else:
                self._settle(self._moved_aside(self._root, path), key)
        return stored

    @staticmethod
    def _moved_aside(root: Path, path: Path) -> Path:
        """Bring a file from anywhere into the store's own file system."""
        aside = root / _ASIDE / uuid.uuid4().hex
        aside.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            path.rename(aside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            try:
                shutil.copyfile(path, aside)
            except OSError:
                aside.unlink(missing_ok=True)
                raise
            path.unlink()
        return aside

    def reserve(self, keys: Sequence[str]) -> list[Path] | None:
        """Make empty files in a local store, their places safe on disk; None for a store that is elsewhere.

        Who fills one in place and calls ``settle_reserved`` needs one fsync for it, where ``put_file`` needs two.
        """
        if self._root is None:
            return None
        paths = [self._root / checked_key(key) for key in keys]
        self._require_same()
        for folder in sorted({path.parent for path in paths}):
            self._make_folder(folder)
        for path in paths:
            path.touch(mode=0o600, exist_ok=False)
        for folder in sorted({path.parent for path in paths}):
            self._sync(folder)
        return paths

    def settle_reserved(self, path: Path) -> None:
        """Have the content of a reserved file on disk."""
        self._sync(path)

    def _settle(self, aside: Path, key: str) -> None:
        """Bring a whole file to its place in the local store so that a loss of power cannot take it back."""
        assert self._root is not None
        target = self._root / key
        self._sync(aside)
        self._make_folder(target.parent)
        aside.replace(target)
        self._sync(target.parent)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder where it is absent, and have it on disk in all that it lies in, once for this process."""
        if folder in self._made and folder.is_dir():
            return
        assert self._root is not None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        above = folder
        while above != self._root:
            above = above.parent
            self._sync(above)
        self._made.add(folder)

    def get(self, key: str, sha256: str | None = None) -> bytes:
        """Return the whole object. Raises ObjectMissingError, and ObjectDamagedError where ``sha256`` does not fit."""
        return b"".join(self.stream(key, sha256))

    def stream(self, key: str, sha256: str | None = None) -> Iterator[bytes]:
        """Yield the object in pieces; ObjectDamagedError comes after the last one, so use nothing before the end."""
        digest = hashlib.sha256()
        with self._missing_judged(), translated():
            pieces = iter(obstore.get(self._backend, checked_key(key)).stream(min_chunk_size=CHUNK_BYTES))
        while True:
            with translated():
                piece = next(pieces, None)
            if piece is None:
                break
            data = bytes(piece)
            digest.update(data)
            yield data
        if sha256 is not None and digest.hexdigest() != sha256:
            raise ObjectDamagedError(f"object {key} does not have the digest it was stored with")

    def read_part(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` to before ``end``, fewer where it is shorter. No digest is checked."""
        with self._missing_judged(), translated():
            return bytes(obstore.get_range(self._backend, checked_key(key), start=start, end=end))

    def fetch(self, key: str, path: Path, sha256: str | None = None) -> Path:
        """Copy the object into the local file ``path``, which is there only if the whole came and its digest fits."""
        try:
            with path.open("wb") as file:
                for piece in self.stream(key, sha256):
                    file.write(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def local_path(self, key: str) -> Path | None:
        """Tell where the object lies in a local store, to be read in place; None for a store that is elsewhere."""
        return None if self._root is None else self._root / checked_key(key)

    def head(self, key: str) -> ObjectInfo | None:
        """Return size and time of an object; None where there is none."""
        try:
            with self._missing_judged(), translated():
                return _info(obstore.head(self._backend, checked_key(key)))
        except ObjectMissingError:
            return None

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with suppress(ObjectMissingError), self._missing_judged(), translated():
            obstore.delete(self._backend, checked_key(key))

    def list(self, prefix: str | None = None) -> Iterator[ObjectInfo]:
        """Return objects below the folder ``prefix``, or all of them, in no order."""
        self._require_same()
        with translated():
            for batch in obstore.list(self._backend, None if prefix is None else checked_key(prefix)):
                for meta in batch:
                    if meta["path"] != MARKER:
                        yield _info(meta)

    @contextmanager
    def _missing_judged(self) -> Iterator[None]:
        """Tell an object that is missing from a store that is."""
        try:
            yield
        except ObjectMissingError:
            self._require_same()
            raise

    def check(self) -> None:
        """Write, read and delete a small object. Raises what goes wrong: a full or read-only disk, no connection."""
        key = f"checks/{uuid.uuid4().hex}"
        stored = self.put(key, b"whole")
        self.get(key, stored.sha256)
        self.delete(key)


def _info(meta: Any) -> ObjectInfo:
    return ObjectInfo(key=meta["path"], size_bytes=meta["size"], modified_at=meta["last_modified"])
