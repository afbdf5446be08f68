"""`med3d calibrations`: the calibrations that the service hands to its workers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from med3d_cli.connection import connect_to_calibrations
from med3d_cli.errors import CommandError
from med3d_cli.screens import AsJson, answer, print_json, table_console
from med3d_contract.calibrations import CalibrationView

LEAST_CHARACTERS = 8


def calibrations_commands() -> typer.Typer:
    """`med3d calibrations` send, list, withdraw."""
    group = typer.Typer(help="Site calibrations that the service hands to workers.", no_args_is_help=True)
    group.command("send")(send)
    group.command("list")(show)
    group.command("withdraw")(withdraw)
    return group


def send(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file of `med3d calibrate --key`.")],
    as_json: AsJson = False,
) -> None:
    """Send a signed calibration to the service, for all runs of your hospital that are predicted from now on."""
    signature = file.with_name(f"{file.name}.sig")
    try:
        parts = file.read_bytes(), signature.read_bytes()
    except OSError as error:
        raise CommandError(f"{file.name} or its signature {signature.name} cannot be read: {error.strerror}") from error
    kept = connect_to_calibrations().send(*parts)
    said = f"{kept.site}: calibration {kept.digest[:12]}, {kept.heads} heads, good until {kept.expires}"
    answer(said, kept, as_json=as_json)


def show(as_json: AsJson = False) -> None:
    """List the calibrations of your hospital, the newest first."""
    found = connect_to_calibrations().all()
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("digest", "site", "model", "heads", "good until", "added", "withdrawn"):
        table.add_column(name, no_wrap=True)
    for one in found:
        withdrawn = "" if one.withdrawn_at is None else f"{one.withdrawn_at:%Y-%m-%d}"
        table.add_row(one.digest[:12], escape(one.site), one.bundle_digest[:12], str(one.heads), str(one.expires),
                      f"{one.added_at:%Y-%m-%d}", withdrawn)  # fmt: skip
    table_console().print(table)


def withdraw(
    digest: Annotated[
        str, typer.Argument(help=f"The digest that `list` shows, or its first {LEAST_CHARACTERS} signs.")
    ],
    as_json: AsJson = False,
) -> None:
    """Withdraw a calibration for good. Answers that were given with it stay, and name it by its digest."""
    client = connect_to_calibrations()
    whole = _only_one(digest.lower(), client.all())
    client.withdraw(whole)
    answer(f"calibration {digest[:12]} is withdrawn", {"withdrawn": whole}, as_json=as_json)


def _only_one(beginning: str, known: tuple[CalibrationView, ...]) -> str:
    found = {one.digest for one in known if one.digest.startswith(beginning)}
    if len(beginning) < LEAST_CHARACTERS or len(found) != 1:
        raise CommandError(f"{len(found)} calibrations have a digest that begins so; see `med3d calibrations list`")
    return found.pop()
