"""Backups of database and store, made beside the running service, and restoring them on an empty machine."""

from med3d_service.backup.archive import BackupArchive, BackupError, BackupSummary
from med3d_service.backup.backing_up import back_up
from med3d_service.backup.restoring import restore

__all__ = ["BackupArchive", "BackupError", "BackupSummary", "back_up", "restore"]
