"""The service that lies on this machine, for commands that look at its database and store themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from med3d_cli.data_dir import default_data_dir
from med3d_cli.errors import CommandError
from med3d_cli.extras import extra

if TYPE_CHECKING:
    from med3d_service.settings import Settings

DataDirHere = Annotated[
    Path | None, typer.Option(help="As given to `med3d serve`; database and store by MED3D_* where they are elsewhere.")
]


@contextmanager
def private_files() -> Iterator[None]:
    """Whatever is made meanwhile is for its owner alone: backups and stores hold heads in the clear."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def service_here(data_dir: Path | None) -> "Settings":
    """Return the settings of the service whose data is here; nothing is made.

    Raises CommandError where there is no database, it has another version's schema, or the site key is missing or half
    rotated.
    """
    settings = settings_here(data_dir)
    from med3d_service.storage.keys import RotationUnfinishedError, require_rotation_ended

    try:
        require_rotation_ended(settings)
    except RotationUnfinishedError as error:
        raise CommandError(str(error)) from error
    return settings


def settings_here(data_dir: Path | None) -> "Settings":
    """Return the same where a rotation of the site key was broken off: for the command that ends it."""
    with extra("service"):
        from med3d_service.logs import log_to_stderr
        from med3d_service.settings import Settings
        from med3d_service.storage.database import SchemaError, require_schema
        from med3d_service.storage.keys import SiteKeyMissingError, require_site_key
    log_to_stderr()
    settings = Settings(data_dir=(data_dir or default_data_dir()).absolute())
    sqlite = settings.database.removeprefix("sqlite:///").split("?")[0]
    if settings.database.startswith("sqlite:") and not Path(sqlite).is_file():
        raise CommandError(f"there is no database at {sqlite}; state the folder by --data-dir")
    try:
        require_schema(settings)
        require_site_key(settings)
    except (SchemaError, SiteKeyMissingError) as error:
        raise CommandError(str(error)) from error
    return settings
