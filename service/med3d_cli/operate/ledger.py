"""`med3d ledger`: is everything that was acknowledged accounted for."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.errors import CommandError
from med3d_cli.operate.service_here import DataDirHere, service_here
from med3d_pipeline.counting import counted

if TYPE_CHECKING:
    from med3d_service.custody.ledger import LedgerReport
    from med3d_service.settings import Settings

EXIT_OUT_OF_BALANCE = 5


def ledger(
    data_dir: DataDirHere = None,
    digests: Annotated[
        bool, typer.Option("--digests", help="Read every object in the store and compare its digest, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check that every accepted study has its answer or is in work, and that every instance is accounted for.

    Runs beside the service and changes nothing. Leaves with 0 where the ledger balances and with 5 where it does not.
    """
    settings = service_here(data_dir)
    report = check_here(settings, digests=digests)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        print_report(report, Console())
    if not report.balances:
        raise typer.Exit(EXIT_OUT_OF_BALANCE)


def check_here(settings: "Settings", *, digests: bool) -> "LedgerReport":
    """Check the ledger of the service on this machine."""
    from med3d_service.custody.ledger import Ledger
    from med3d_service.storage.database import Database
    from med3d_service.storage.store_identity import open_store
    from med3d_store.object_store import StoreError

    database = Database(settings.database)
    try:
        with Console(stderr=True).status("checking the ledger"):
            return Ledger(settings, database, open_store(settings, database)).check(digests=digests)
    except StoreError as error:
        raise CommandError(str(error)) from error
    finally:
        database.close()


def print_report(report: "LedgerReport", console: Console) -> None:
    """Say it for people."""
    verdict = "balances" if report.balances else "does not balance"
    looked = "" if report.digests_verified else " (sizes, not digests)"
    counts = (
        counted(report.studies, "study", "studies"),
        counted(report.runs, "run", "runs"),
        counted(report.instances, "instance", "instances"),
    )
    console.print(f"The ledger {verdict}: {', '.join(counts)}{looked}, {report.duration_s:.1f} s.", highlight=False)
    if report.balances:
        return
    from med3d_service.custody.ledger import ACCOUNTS

    table = Table(box=None, pad_edge=False)
    for name in ("code", "count", "what is not as it must be", "where"):
        table.add_column(name, overflow="fold")
    for code, count in report.counts.items():
        subjects = [finding.subject for finding in report.findings if finding.code == code]
        shown = "\n".join(subjects[:3]) + (f"\nand {count - 3} more: --json" if count > 3 else "")
        table.add_row(code, str(count), ACCOUNTS[code], shown)
    console.print(table)
