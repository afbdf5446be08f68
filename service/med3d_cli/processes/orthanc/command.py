"""`med3d pacs orthanc-config`: shows or makes what an Orthanc needs, so that it tells of its stable studies."""

import difflib
import os
import re
import secrets
from pathlib import Path
from typing import Annotated

import typer

from med3d_cli.errors import CommandError
from med3d_cli.processes.orthanc.changes import (
    HOOK_VARIABLE,
    Change,
    Hook,
    changes_of,
    peers_table,
    read_configuration,
    secret_changes,
    warnings_of,
)
from med3d_cli.processes.orthanc.exact_files import keep_before, write_in_place

MIN_SECRET_CHARACTERS = 32
PEER = re.compile(r"[A-Za-z0-9_-]+")
"""A name that can stand in the peers' file as it is."""
ADDRESS = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")


def orthanc_config(
    folder: Annotated[Path, typer.Argument(help="Orthanc's configuration; on Debian /etc/orthanc.")],
    write: Annotated[bool, typer.Option("--write", help="Make the changes; without it they are shown.")] = False,
    peer: Annotated[str, typer.Option(help="The name of this Orthanc in the peers' file.")] = "ward",
    url: Annotated[str, typer.Option(help="Where Orthanc reaches the service.")] = "http://127.0.0.1:8000",
    secret_file: Annotated[
        Path, typer.Option(help="The secret of the hook for the service, made where it is not there.")
    ] = Path("/etc/med3d/hook.secret"),
    systemd: Annotated[Path, typer.Option(help="Where systemd looks for drop-ins.")] = Path("/etc/systemd/system"),
) -> None:
    """Let an Orthanc call the hook: adds files of our own, and our script to the list of its scripts."""
    if not PEER.fullmatch(peer):
        raise CommandError(f"--peer {peer!r} is no name for the peers' file: letters, digits, - and _")
    if not ADDRESS.fullmatch(url):
        raise CommandError(f"--url {url!r} is no address for Orthanc: http:// or https://, host and port")
    hook, found = Hook(url.rstrip("/"), peer), read_configuration(folder.absolute())
    made = changes_of(found, hook)
    if write:
        made += secret_changes(found.folder, systemd, _secret(secret_file))
        _write(made)
    else:
        made += secret_changes(found.folder, systemd, _secret(secret_file) if secret_file.exists() else "...")
        for change in made:
            _show(change)
    for warning in warnings_of(found):
        typer.echo(f"warning: {warning}", err=True)
    _say_what_is_left(made, write)
    typer.echo(f"\nIn the peers' file (MED3D_PEERS_FILE):\n\n{peers_table(found, hook, secret_file)}", nl=False)


def _secret(path: Path) -> str:
    """Return the secret in ``path``, or a new one put there for its owner alone. Raises CommandError."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be made or read ({type(error).__name__})") from error
    if len(secret) < MIN_SECRET_CHARACTERS or len(secret.split()) != 1:
        raise CommandError(f"{path} holds no secret: one line of {MIN_SECRET_CHARACTERS} characters or more")
    return secret


def _write(changes: list[Change]) -> None:
    """Write each file; what was there before stays as NAME.before-med3d."""
    for change in changes:
        path = change.path
        try:
            if path.exists() and not change.secret:
                keep_before(path)
            write_in_place(path, change.after, 0o600 if change.secret else 0o644)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {os.strerror(error.errno or 0)}; try as root") from error
        typer.echo(f"{path}")


def _show(change: Change) -> None:
    if change.secret:
        typer.echo(f"+++ {change.path} (for root alone)\n+{HOOK_VARIABLE}=...")
        return
    typer.echo(f"+++ {change.path}{'' if change.before else ' (new)'}")
    if change.path.suffix == ".lua":
        return
    lines = difflib.unified_diff(change.before.splitlines(), change.after.splitlines(), n=1, lineterm="")
    typer.echo("\n".join(list(lines)[2:]).encode("utf-8", "replace").decode())


def _say_what_is_left(made: list[Change], write: bool) -> None:
    if not made:
        typer.echo("Orthanc's configuration is as it should be.")
    elif write:
        typer.echo("\nNow: systemctl daemon-reload && systemctl restart orthanc")
    else:
        typer.echo("\nNothing was changed; --write makes it so.")
