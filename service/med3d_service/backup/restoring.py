"""Restoring a backup: objects first, the database last, so that what was broken off can be begun again."""

import secrets
from contextlib import closing
from pathlib import Path

from med3d_contract.store import ObjectStore
from med3d_service.backup.archive import BackupArchive, BackupError, BackupSummary, Manifest
from med3d_service.backup.backing_up import Told, identifier_key_fingerprint, key_fingerprint
from med3d_service.backup.snapshots import kind_of, put_back, require_empty
from med3d_service.database import upgrade_schema
from med3d_service.keys import load_keys
from med3d_service.settings import Settings


def restore(
    settings: Settings, folder: Path, name: str | None = None, told: Told = lambda _what, _count: None
) -> BackupSummary:
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
    store = ObjectStore.open(settings.store)
    with closing(Manifest(archive.folder(name) / "manifest.sqlite")) as manifest:
        for count, (key, _size_bytes, sha256) in enumerate(manifest, start=1):
            copy = settings.spool_dir / f"{secrets.token_hex(16)}.restored"
            archive.copy_out(sha256, copy)
            store.put_file(key, copy, sha256=sha256)
            told("objects", count)
    told("database", 0)
    put_back(settings, archive.folder(name), summary.revision, summary.tables)
    upgrade_schema(settings)
    return summary


def _require_keys(settings: Settings, summary: BackupSummary) -> None:
    """The keys are never in a backup: whoever restores brings them. None is made here."""
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
