"""The folder that backups lie in: objects once each by their digest, and a folder for each backup.

objects/3f/3f9a...                what the store held, by sha256; shared by all backups
backups/20260105T090000Z/         one backup; it is there only if it is whole
    backup.json                   what it is (BackupSummary)
    manifest.sqlite               table objects: key, size_bytes, modified_at, sha256
    database.sqlite               or database/TABLE.copy, as PostgreSQL's COPY writes them
"""

import fcntl
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from med3d_contract.results import Frozen
from med3d_store.object_store import file_sha256

PARTIAL = ".partial-"


class BackupError(Exception):
    """A backup cannot be made or used; the message says why and what to do."""


class BackupSummary(Frozen):
    """What a backup holds. The fingerprints tell whether given keys are those that its contents are sealed with."""

    made_at: datetime
    software: str
    database: str  # sqlite or postgresql
    revision: str
    tables: dict[str, tuple[str, ...]]
    objects: int
    object_bytes: int
    copied_objects: int
    copied_bytes: int
    key_fingerprint: str
    identifier_key_fingerprint: str
    missing: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """The store held all that the database refers to, unaltered."""
        return not self.missing


class Manifest:
    """The objects of one backup; on disk, since there may be millions."""

    def __init__(self, path: Path) -> None:
        self._table = sqlite3.connect(path, isolation_level=None)
        self._table.execute("PRAGMA synchronous=OFF")  # the whole file is synced at the end
        self._table.execute(
            "CREATE TABLE IF NOT EXISTS objects "
            "(key TEXT PRIMARY KEY, size_bytes INTEGER, modified_at TEXT, sha256 TEXT) WITHOUT ROWID"
        )

    def add(self, key: str, size_bytes: int, modified_at: str, sha256: str) -> None:
        """Note one object."""
        self._table.execute(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (key, size_bytes, modified_at, sha256)
        )

    def unchanged(self, key: str, size_bytes: int, modified_at: str) -> str | None:
        """Return the digest of an object that this backup holds just so."""
        query = "SELECT sha256 FROM objects WHERE key = ? AND size_bytes = ? AND modified_at = ?"
        found = self._table.execute(query, (key, size_bytes, modified_at)).fetchone()
        return None if found is None else str(found[0])

    def sha256(self, key: str) -> str | None:
        """Return the digest of an object; None where this backup does not hold it."""
        found = self._table.execute("SELECT sha256 FROM objects WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        """Return key, size and digest of each."""
        yield from self._table.execute("SELECT key, size_bytes, sha256 FROM objects ORDER BY key")

    def totals(self) -> tuple[int, int]:
        """Tell how many objects, and their bytes."""
        count, size = self._table.execute("SELECT count(*), coalesce(sum(size_bytes), 0) FROM objects").fetchone()
        return int(count), int(size)

    def close(self) -> None:
        """Close the file."""
        self._table.close()


class BackupArchive:
    """Names and keeps what lies in the folder ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def pooled(self, sha256: str) -> Path:
        """Tell where the object of this digest lies."""
        return self.root / "objects" / sha256[:2] / sha256

    def names(self) -> list[str]:
        """Return the whole backups, oldest first."""
        found = (self.root / "backups").glob("*/backup.json")
        return sorted(path.parent.name for path in found if not path.parent.name.startswith(PARTIAL))

    def folder(self, name: str) -> Path:
        """Return the folder of one backup. Raises BackupError where there is none of this name."""
        if name not in self.names():
            raise BackupError(f"{self.root} holds no backup {name}; there are: {', '.join(self.names()) or 'none'}")
        return self.root / "backups" / name

    def summary(self, name: str) -> BackupSummary:
        """Return what a backup is."""
        return BackupSummary.model_validate_json((self.folder(name) / "backup.json").read_bytes())

    @contextmanager
    def new(self) -> Iterator[Path]:
        """Give a folder to fill, for one process at a time; what earlier ones left half done is removed."""
        for folder in (self.root, self.root / "objects", self.root / "backups"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(f"another backup to {self.root} is under way; wait for its end") from None
            for left in (self.root / "backups").glob(f"{PARTIAL}*"):
                shutil.rmtree(left)
            for left in (self.root / "objects").glob(f"{PARTIAL}*"):
                left.unlink()
            partial = self.root / "backups" / f"{PARTIAL}{uuid.uuid4().hex}"
            partial.mkdir(mode=0o700)
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def partial_object(self) -> Path:
        """Return a file to write an object to before its digest is known."""
        return self.root / "objects" / f"{PARTIAL}{uuid.uuid4().hex}"

    def settle_object(self, partial: Path, sha256: str) -> None:
        """Bring a written object to its place, on disk; one that is there already is kept."""
        target = self.pooled(sha256)
        if target.is_file():
            partial.unlink()
            return
        sync(partial)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        partial.replace(target)
        sync(target.parent)

    def settle(self, partial: Path, summary: BackupSummary) -> str:
        """Make a filled folder a backup, at once and on disk; its name."""
        (partial / "backup.json").write_text(summary.model_dump_json(indent=2) + "\n")
        for path in sorted(partial.rglob("*")):
            sync(path)
        sync(partial)
        name = summary.made_at.strftime("%Y%m%dT%H%M%S%fZ")
        partial.rename(self.root / "backups" / name)
        sync(self.root / "backups")
        sync(self.root / "objects")
        return name

    def copy_out(self, sha256: str, path: Path) -> None:
        """Copy a kept object to ``path``. Raises BackupError where the backup itself has been damaged."""
        try:
            shutil.copyfile(self.pooled(sha256), path)
        except FileNotFoundError as error:
            raise BackupError(f"the backup lacks the object {sha256}; take another copy of it") from error
        if file_sha256(path) != sha256:
            path.unlink()
            raise BackupError(f"the backup's object {sha256} is damaged; take another copy of it")


def sync(path: Path) -> None:
    """Have a file or folder on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
