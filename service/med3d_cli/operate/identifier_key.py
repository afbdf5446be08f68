"""`med3d identifier-key`: the key under which the patients' identifiers lie encrypted."""

from dataclasses import asdict

import typer

from med3d_cli.data_dir import DataDir
from med3d_cli.operate.service_here import DataDirHere, service_here
from med3d_cli.screens import AsJson, answer


def identifier_key_commands() -> typer.Typer:
    """Return the group of commands."""
    app = typer.Typer(help="The key that the patients' identifiers are encrypted under.", no_args_is_help=True)
    app.callback()(_group)
    app.command()(rotate)
    return app


def _group() -> None:
    """Return the key that the patients' identifiers are encrypted under."""


def rotate(data_dir: DataDirHere = None, as_json: AsJson = False) -> None:
    """Seal the patients' identifiers under a new key; the old one opens nothing afterwards. Stop the service first."""
    settings = service_here(data_dir)
    from med3d_service.processes import rotate_identifier_key

    with DataDir(settings.data_dir).locked():  # while it runs, the service would go on with the old key
        done = rotate_identifier_key(settings)
    to_do = "" if done.old_keys_removed else "\nThe settings give the keys: remove the older ones there."
    answer(f"sealed anew under the new key: {done.rows}{to_do}", asdict(done), as_json=as_json)
