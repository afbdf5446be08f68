"""The database of the settings, with what seals and judges its rows."""

from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.guard import Guard
from med3d_service.storage.keys import SiteKeys, load_keys
from med3d_service.storage.sealed_counter import SealedCounter


def open_database(settings: Settings, keys: SiteKeys | None = None, guard: Guard | None = None) -> Database:
    """Open it; nothing is connected to yet."""
    return Database(settings.database, guard or guard_for(settings, keys or load_keys(settings)))


def guard_for(settings: Settings, keys: SiteKeys) -> Guard:
    """Make the guard of these settings."""
    return Guard(keys.rows, SealedCounter.of(settings, keys.counter))
