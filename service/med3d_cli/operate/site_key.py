"""`med3d site-key`: the key that everything which is sealed derives from."""

from dataclasses import asdict

import typer

from med3d_cli.data_dir import DataDir
from med3d_cli.errors import CommandError
from med3d_cli.operate.service_here import DataDirHere, settings_here
from med3d_cli.screens import AsJson, answer

EXIT_DAMAGED = 5


def site_key_commands() -> typer.Typer:
    """Return the group of commands."""
    app = typer.Typer(help="The key that originals, reports, rows and the audit trail are sealed with.")
    app.callback(no_args_is_help=True)(_group)
    app.command()(rotate)
    return app


def _group() -> None:
    """Return the key that originals, reports, rows and the audit trail are sealed with."""


def rotate(data_dir: DataDirHere = None, as_json: AsJson = False) -> None:
    """Seal everything under a new site key; the old one opens nothing afterwards. Back up and stop the service first.

    Broken off anywhere, nothing is lost: call it again. Leaves with 5 where an object was damaged before.
    """
    settings = settings_here(data_dir)
    from med3d_service.custody.site_key_rotation import SiteKeyRotationError
    from med3d_service.processes import rotate_site_key

    with DataDir(settings.data_dir).locked():  # while it runs, the service would go on with the old key
        try:
            done = rotate_site_key(settings)
        except SiteKeyRotationError as error:
            raise CommandError(str(error)) from error
    said = [f"sealed anew: {done.objects} objects, {done.identifiers} identifiers, {done.rows} rows"]
    if done.put_in_place is not None:
        said.append(f"The settings give the site key: put {done.put_in_place} in its place, then remove that file.")
    said.append("Keep a copy of the new key, and the old one for as long as backups are that it opens; back up now.")
    answer("\n".join(said), asdict(done), as_json=as_json)
    if done.damaged:
        for key in done.damaged:
            typer.echo(f"was damaged before, and stays so: {key}", err=True)
        raise typer.Exit(EXIT_DAMAGED)
