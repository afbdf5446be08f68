"""`med3d backup` and `med3d restore`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from med3d_cli.data_dir import DataDir, default_data_dir
from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.operate.ledger import EXIT_OUT_OF_BALANCE, check_here, print_report
from med3d_cli.operate.service_here import DataDirHere, private_files, service_here
from med3d_cli.screens import AsJson, answer, print_json
from med3d_pipeline.counting import counted

if TYPE_CHECKING:
    from med3d_service.custody.backup.backing_up import Told
    from med3d_service.trust.establishing import Revived


@private_files()
def backup(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where backups lie; made where absent.")],
    data_dir: DataDirHere = None,
    as_json: AsJson = False,
) -> None:
    """Back up database and store while the service runs. Only what is new since the last backup is copied.

    The keys stay out: keep site.key and identifier.keys elsewhere, for nothing opens the backup without them. Leaves
    with 5 where the store lacks something that the database refers to.
    """
    settings = service_here(data_dir)
    from med3d_service.custody.backup import BackupError, back_up

    try:
        with _telling("backing up") as told:
            name, summary = back_up(settings, folder.absolute(), told)
    except BackupError as error:
        raise CommandError(str(error)) from error
    answer(
        f"backup {name}: {counted(summary.objects, 'object', 'objects')}, {_megabytes(summary.object_bytes)}; "
        f"copied {summary.copied_objects}, {_megabytes(summary.copied_bytes)}",
        {"backup": name, "summary": summary},
        as_json=as_json,
    )
    if not summary.is_complete:
        for key in summary.missing:
            typer.echo(f"missing or altered in the store: {key}", err=True)
        raise typer.Exit(EXIT_OUT_OF_BALANCE)


@private_files()
def restore(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="As given to `med3d backup`.")],
    data_dir: DataDirHere = None,
    name: Annotated[str | None, typer.Option("--backup", help="Default: the newest.")] = None,
    objects: Annotated[
        bool, typer.Option("--objects", help="Only put back what the store has lost, beside the running service.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup on an empty machine, bring its schema to this version, and check the ledger.

    First copy site.key (and identifier.keys, where there is one) into the data folder. Leaves with 5 where the ledger
    does not balance.
    """
    if objects:
        _put_back(folder, data_dir, name, as_json=as_json)
        return
    with extra("service"):
        from med3d_service.custody.backup import BackupError
        from med3d_service.custody.backup import restore as bring_back
        from med3d_service.settings import Settings
    here = DataDir((data_dir or default_data_dir()).absolute())
    here.prepare()
    settings = Settings(data_dir=here.root)
    with here.locked():
        try:
            with _telling("restoring") as told:
                restored = bring_back(settings, folder.absolute(), name, told)
        except BackupError as error:
            raise CommandError(str(error)) from error
        if not as_json:
            summary = restored.summary
            restored_objects = counted(summary.objects, "object", "objects")
            typer.echo(f"restored the backup of {summary.made_at:%Y-%m-%d %H:%M} UTC: {restored_objects}")
            _print_keys(restored.revived)
        report = check_here(settings, digests=True)
    if as_json:
        print_json({"summary": restored.summary, "keys": asdict(restored.revived), "ledger": report})
    else:
        print_report(report, Console())
    if not report.balances:
        raise typer.Exit(EXIT_OUT_OF_BALANCE)


def _print_keys(revived: "Revived") -> None:
    for prefix in revived.kept_ended:
        typer.echo(f"ended since the backup, and stays so: key {prefix}")
    if not revived.counter_was_here:
        typer.echo(
            "the sealed counter (trust.sealed) was not in the data folder: keys revoked since the backup work again"
        )
        for prefix in revived.working:
            typer.echo(f"works again: key {prefix}; if it was revoked, `med3d keys revoke {prefix}`")


def _put_back(folder: Path, data_dir: Path | None, name: str | None, *, as_json: bool) -> None:
    if name is not None:
        raise CommandError("--objects looks through all backups: leave --backup out")
    settings = service_here(data_dir)
    from med3d_service.custody.backup import BackupError, put_back_objects

    try:
        with _telling("putting back") as told:
            done = put_back_objects(settings, folder.absolute(), told)
    except BackupError as error:
        raise CommandError(str(error)) from error
    answer(f"put back {counted(done.objects, 'object', 'objects')}", asdict(done), as_json=as_json)
    for key in done.in_no_backup:
        typer.echo(f"in no backup: {key}", err=True)
    if done.in_no_backup:
        raise typer.Exit(EXIT_OUT_OF_BALANCE)


@contextmanager
def _telling(doing: str) -> Iterator["Told"]:
    with Console(stderr=True).status(doing) as status:
        yield lambda what, count: status.update(f"{doing}: {what}{f' {count}' if count else ''}")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
