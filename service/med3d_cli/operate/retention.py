"""`med3d retention`: what has been kept long enough, and removing it."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.errors import CommandError
from med3d_cli.operate.service_here import DataDirHere, service_here
from med3d_cli.screens import AsJson, print_json

if TYPE_CHECKING:
    from med3d_service.custody.retention import Due

WHAT = {
    "input": "studies' originals and working copies",
    "tensor": "runs' tensors and pictures",
    "latent": "results' latent coordinates",
    "result": "studies, erased as a whole",
    "audit": "entries of the audit trail",
}


def retention(
    data_dir: DataDirHere = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is due and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what MED3D_RETAIN_{INPUT,TENSOR,LATENT,RESULT,AUDIT}_DAYS no longer keep; the scheduler does it hourly.

    What is not set is kept for ever. Nothing is removed of a study that has no answer yet or is being worked on.
    """
    settings = service_here(data_dir)
    from med3d_service.custody.retention import Retention
    from med3d_service.processes.composition import Essentials
    from med3d_store.object_store import StoreError

    parts = Essentials.open(settings)
    try:
        kept = Retention(settings, parts.database, parts.store, parts.vault, parts.trail)
        due = kept.due()
        if not as_json:
            _show(due)
        removed = None if dry_run else kept.sweep()
    except StoreError as error:
        raise CommandError(f"{error}; the service removes the rest when it can") from error
    finally:
        parts.close()
    if as_json:
        print_json({"due": [asdict(one) for one in due], "removed": removed})
    elif removed is None:
        typer.echo("Dry run: nothing was removed.")
    else:
        typer.echo("Removed: " + (", ".join(f"{name} {count}" for name, count in removed.items()) or "nothing") + ".")


def _show(classes: "tuple[Due, ...]") -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("class", "what", "kept for", "due", "the oldest of"):
        table.add_column(name)
    for one in classes:
        days = "ever" if one.days is None else f"{one.days:g} days"
        oldest = "" if one.oldest_at is None else datetime.fromtimestamp(one.oldest_at, UTC).strftime("%Y-%m-%d")
        table.add_row(one.name, WHAT[one.name], days, str(one.count), oldest)
    Console().print(table)
