"""Restoring a backup: objects first, the database last, so that what was broken off can be begun again."""

import secrets
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from med3d_service.custody.backup.archive import BackupArchive, BackupError, BackupSummary, Manifest
from med3d_service.custody.backup.backing_up import Told, identifier_key_fingerprint, key_fingerprint
from med3d_service.custody.backup.snapshots import kind_of, put_back, require_empty
from med3d_service.custody.ledger.objects import lost_objects
from med3d_service.settings import Settings
from med3d_service.storage.database import Database, upgrade_schema
from med3d_service.storage.keys import load_keys
from med3d_service.storage.opening import guard_for, open_database
from med3d_service.storage.store_identity import record_store
from med3d_service.trust.audit import AuditTrail
from med3d_service.trust.establishing import Revived, revive
from med3d_store.object_store import ObjectStore


def restore(
    settings: Settings, folder: Path, name: str | None = None, told: Told = lambda _what, _count: None
) -> "Restored":
    """Bring back the backup ``name`` (default: the newest) and upgrade its schema to this version.

    Raises BackupError where there is a database already, a key is missing or another one, or the backup is damaged.
    """
    archive = BackupArchive(folder)
    names = archive.names()
    if not names:
        raise BackupError(f"{folder} holds no whole backup")
    name = name or names[-1]
    summary = archive.summary(name)
    if summary.database != kind_of(settings):
        raise BackupError(
            f"the backup is of {summary.database}, the settings name {kind_of(settings)}: set MED3D_DATABASE_URL"
        )
    require_empty(settings)
    _require_keys(settings, summary)
    settings.spool_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = ObjectStore.make(settings.store)
    with closing(Manifest(archive.folder(name) / "manifest.sqlite")) as manifest:
        for count, (key, _size_bytes, sha256) in enumerate(manifest, start=1):
            _copy(archive, store, settings.spool_dir, key, sha256)
            told("objects", count)
    told("database", 0)
    put_back(settings, archive.folder(name), summary.revision, summary.tables)
    upgrade_schema(settings)
    keys = load_keys(settings)
    guard = guard_for(settings, keys)
    with closing(open_database(settings, keys, guard)) as database:
        record_store(store, database)
        had_seals = "seal" in summary.tables["api_keys"]
        revived = revive(database, guard, AuditTrail(database, keys.audit), name, had_seals=had_seals)
    return Restored(summary, revived)


@dataclass(frozen=True)
class Restored:
    """What was brought back, and which keys open something now."""

    summary: BackupSummary
    revived: Revived


@dataclass(frozen=True)
class PutBack:
    """What became of the objects that the store had lost: those put back, and those that no backup holds."""

    objects: int
    in_no_backup: tuple[str, ...]


def put_back_objects(settings: Settings, folder: Path, told: Told = lambda _what, _count: None) -> PutBack:
    """Bring back what the store has lost or holds altered, from whichever backup holds it; the service may run.

    Raises BackupError where there is no backup, or it is damaged itself.
    """
    archive, database = BackupArchive(folder), Database(settings.database)
    if not archive.names():
        raise BackupError(f"{folder} holds no whole backup")
    count, in_no_backup = 0, []
    try:
        store = ObjectStore.make(settings.store)  # where the whole store was lost, this is the hand that makes it anew
        record_store(store, database)
        for lost in lost_objects(database, store):
            if not archive.pooled(lost.sha256).is_file():
                in_no_backup += [lost.key] if lost.is_missed(database) else []
                continue
            _copy(archive, store, settings.spool_dir, lost.key, lost.sha256)
            if not lost.is_missed(database):  # its study was erased meanwhile
                store.delete(lost.key)
                continue
            count += 1
            told("objects", count)
    finally:
        database.close()
    return PutBack(count, tuple(in_no_backup))


def _copy(archive: BackupArchive, store: ObjectStore, spool_dir: Path, key: str, sha256: str) -> None:
    copy = spool_dir / f"{secrets.token_hex(16)}.restored"
    archive.copy_out(sha256, copy)
    store.put_file(key, copy, sha256=sha256)


def _require_keys(settings: Settings, summary: BackupSummary) -> None:
    """Read the keys, which are never in a backup: whoever restores brings them. None is made here."""
    file = settings.data_dir / "site.key"
    if settings.site_key is None and not file.exists():
        raise BackupError(
            f"the site key is missing: copy it to {file} (or set MED3D_SITE_KEY_FILE); backups hold no keys"
        )
    keys = load_keys(settings)
    if key_fingerprint(keys) != summary.key_fingerprint:
        raise BackupError("this is not the site key that the backup's contents are sealed with")
    given = {identifier_key_fingerprint(key) for key in (keys.identifiers, *keys.older_identifiers)}
    if summary.identifier_key_fingerprint not in given:
        raise BackupError(
            f"the identifiers are sealed with a key that is not here: copy identifier.keys to {settings.data_dir}"
        )
