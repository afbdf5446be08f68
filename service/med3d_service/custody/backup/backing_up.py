"""Making a backup: the database first, then the store, which holds an object before any row refers to it."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection

from med3d_service.custody.backup.archive import BackupArchive, BackupError, BackupSummary, Manifest
from med3d_service.custody.backup.snapshots import kind_of, revision_of, snapshot, tables_of
from med3d_service.custody.ledger.objects import referenced_objects
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.keys import SiteKeys, load_keys
from med3d_service.storage.opening import open_database
from med3d_service.storage.store_identity import open_store, recorded_identity, require_recorded
from med3d_service.trust.audit import Action, AuditEvent, AuditTrail, command_line
from med3d_store.object_store import ObjectInfo, ObjectMissingError, ObjectStore, StoreAwayError, StoreChangedError

PASSING = ("checks/", ".aside/")
"""Objects that readiness leaves for a moment, and those that are being written."""
MOST_TOLD = 100
Told = Callable[[str, int], None]


def back_up(settings: Settings, folder: Path, told: Told = lambda _what, _count: None) -> tuple[str, BackupSummary]:
    """Add a backup to ``folder``, while the service runs; its name, and what it holds.

    What an earlier backup there holds unchanged is not copied again. Raises BackupError, also where the store is not
    there: an empty mount point is no store, and its backup would look whole.
    """
    keys = load_keys(settings)
    with closing(open_database(settings, keys)) as database:
        try:
            store = open_store(settings, database)
            if recorded_identity(database) is not None:
                require_recorded(store, database)
            return _back_up(settings, keys, BackupArchive(folder), store, told)
        except StoreChangedError as error:
            raise BackupError(f"nothing was backed up: {error}. Mount it, or mend MED3D_STORE_URL") from error
        except StoreAwayError as error:
            raise BackupError(f"nothing was backed up: {error}") from error


def _back_up(
    settings: Settings, keys: SiteKeys, archive: BackupArchive, store: ObjectStore, told: Told
) -> tuple[str, BackupSummary]:
    with ExitStack() as stack:
        partial = stack.enter_context(archive.new())
        earlier = archive.names()
        _note(settings, keys)
        told("database", 0)
        made_at = datetime.now(UTC)
        connection = stack.enter_context(snapshot(settings, partial))
        manifest = stack.enter_context(closing(Manifest(partial / "manifest.sqlite")))
        previous = None
        if earlier:
            previous = stack.enter_context(closing(Manifest(archive.folder(earlier[-1]) / "manifest.sqlite")))
        copied = _Copying(store, archive, manifest, previous)
        for count, found in enumerate(_objects(store), start=1):
            copied.take(found)
            told("objects", count)
        missing = tuple(key for _, key in zip(range(MOST_TOLD), _missing(connection, manifest), strict=False))
        objects, object_bytes = manifest.totals()
        summary = BackupSummary(
            made_at=made_at,
            software=version("infovae-med3d"),
            database=kind_of(settings),
            revision=revision_of(connection),
            tables=tables_of(connection),
            objects=objects,
            object_bytes=object_bytes,
            copied_objects=copied.objects,
            copied_bytes=copied.bytes,
            key_fingerprint=key_fingerprint(keys),
            identifier_key_fingerprint=identifier_key_fingerprint(keys.identifiers),
            missing=missing,
        )
        connection.close()
        manifest.close()
        return archive.settle(partial, summary), summary


def _note(settings: Settings, keys: SiteKeys) -> None:
    """Note it before the database is copied, so that the backup itself says that it was made."""
    with closing(Database(settings.database)) as database:
        event = AuditEvent(command_line(), Action.BACKUP, object_kind="database")
        AuditTrail(database, keys.audit).record(event)


def key_fingerprint(keys: SiteKeys) -> str:
    """Return what tells the site key from others, and tells nothing else of it."""
    return hashlib.sha256(b"med3d backup" + keys.originals + keys.blind_index + keys.uids).hexdigest()[:32]


def identifier_key_fingerprint(key: bytes) -> str:
    """Return the same for one key of the identifiers."""
    return hashlib.sha256(b"med3d backup" + key).hexdigest()[:32]


class _Copying:
    """Takes over objects, and counts those that had to be read."""

    def __init__(
        self, store: ObjectStore, archive: BackupArchive, manifest: Manifest, previous: Manifest | None
    ) -> None:
        self._store = store
        self._archive = archive
        self._manifest = manifest
        self._previous = previous
        self.objects = 0
        self.bytes = 0

    def take(self, found: ObjectInfo) -> None:
        """Have an object in the archive. One that goes away meanwhile is left out."""
        modified_at = found.modified_at.isoformat()
        known = self._previous and self._previous.unchanged(found.key, found.size_bytes, modified_at)
        if known and self._archive.pooled(known).is_file():
            self._manifest.add(found.key, found.size_bytes, modified_at, known)
            return
        partial, digest, size_bytes = self._archive.partial_object(), hashlib.sha256(), 0
        try:
            with partial.open("wb") as file:
                for piece in self._store.stream(found.key):
                    digest.update(piece)
                    size_bytes += file.write(piece)
        except ObjectMissingError:
            partial.unlink()
            return
        self._archive.settle_object(partial, digest.hexdigest())
        self._manifest.add(found.key, size_bytes, modified_at, digest.hexdigest())
        self.objects += 1
        self.bytes += size_bytes


def _objects(store: ObjectStore) -> Iterator[ObjectInfo]:
    return (found for found in store.list() if not found.key.startswith(PASSING))


def _missing(connection: Connection, manifest: Manifest) -> Iterator[str]:
    """List keys that the database refers to and that the store did not hold, or not as they were stored."""
    for key, sha256 in referenced_objects(connection):
        if manifest.sha256(key) != sha256:
            yield key
