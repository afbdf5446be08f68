"""Backups of database and store, made beside the running service, and restoring them on an empty machine."""

from med3d_service.custody.backup.archive import BackupArchive, BackupError, BackupSummary
from med3d_service.custody.backup.backing_up import back_up
from med3d_service.custody.backup.restoring import PutBack, put_back_objects, restore

__all__ = ["BackupArchive", "BackupError", "BackupSummary", "PutBack", "back_up", "put_back_objects", "restore"]
