"""`med3d identifier-key`: the key under which the patients' identifiers lie encrypted."""

from pathlib import Path
from typing import Annotated

import typer

from med3d_cli.data_dir import DataDir, default_data_dir
from med3d_cli.extras import extra


def identifier_key_commands() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help="The key that the patients' identifiers are encrypted under.", no_args_is_help=True)
    app.callback()(_group)
    app.command()(rotate)
    return app


def _group() -> None:
    """The key that the patients' identifiers are encrypted under."""


def rotate(
    data_dir: Annotated[Path | None, typer.Option(help="As given to `med3d serve`.")] = None,
) -> None:
    """Seal the patients' identifiers under a new key; the old one opens nothing afterwards. Stop the service first."""
    with extra("service"):
        from med3d_service.processes import migrate, rotate_identifier_key
        from med3d_service.settings import Settings
    folder = DataDir((data_dir or default_data_dir()).absolute())
    folder.prepare()
    with folder.locked():  # while it runs, the service would go on with the old key
        settings = Settings(data_dir=folder.root)
        migrate(settings)
        done = rotate_identifier_key(settings)
    typer.echo(f"sealed anew under the new key: {done.rows}")
    if not done.old_keys_removed:
        typer.echo("The settings give the keys: remove the older ones there.")
