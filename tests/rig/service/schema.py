"""A new SQLite database with its schema, copied from one that was migrated once: the migrations take 0.2 s each time."""

import functools
import shutil
import tempfile
from pathlib import Path

from med3d_service.settings import Settings
from med3d_service.storage.database import upgrade_schema


@functools.cache
def _migrated_once() -> bytes:
    folder = Path(tempfile.mkdtemp(prefix="med3d-schema-"))
    try:
        settings = Settings(data_dir=folder)
        upgrade_schema(settings)
        return _file_of(settings).read_bytes()
    finally:
        shutil.rmtree(folder)


def _file_of(settings: Settings) -> Path:
    return Path(settings.database.removeprefix("sqlite:///"))


def lay_schema(settings: Settings) -> bool:
    """Leave what the migrations leave where there is no SQLite database yet; whether there was none."""
    if settings.database_url is not None or _file_of(settings).exists():
        return False
    _file_of(settings).write_bytes(_migrated_once())
    return True
