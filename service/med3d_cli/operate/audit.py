"""`med3d audit`: prove the trail, and hand it out."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from med3d_cli.errors import CommandError
from med3d_cli.operate.service_here import DataDirHere, service_here
from med3d_cli.screens import AsJson, answer, print_json

if TYPE_CHECKING:
    from med3d_service.settings import Settings
    from med3d_service.storage.database import Database
    from med3d_service.trust.audit.tables import AuditRow

EXIT_BROKEN = 5
FORMATS = ("json", "atna", "syslog")


def audit_commands() -> typer.Typer:
    """Return the group of commands."""
    app = typer.Typer(help="The audit trail: who read or changed what, from where.", no_args_is_help=True)
    app.command()(verify)
    app.command()(export)
    app.command()(renew_counter)
    return app


def verify(
    noted: Annotated[
        str | None, typer.Option(metavar="SEQ:MAC", help="An end that was noted before: it must still be in the trail.")
    ] = None,
    data_dir: DataDirHere = None,
    as_json: AsJson = False,
) -> None:
    """Prove that no entry was changed, removed or added, nor an older trail put back. Leaves with 5 where one was."""
    with _trail(data_dir) as (database, settings):
        from med3d_service.storage.keys import load_keys
        from med3d_service.storage.sealed_counter import CounterBrokenError
        from med3d_service.trust.audit import AuditTrail, TrailBrokenError
        from med3d_service.trust.establishing import CounterMissingError, prove_trail

        keys, guard = load_keys(settings), database.guard
        trail = AuditTrail(database, keys.audit, keys.older_audit)
        assert guard is not None
        try:
            end = prove_trail(database, guard, trail, _noted(noted))
        except (TrailBrokenError, CounterMissingError, CounterBrokenError) as error:
            tampered = "the audit trail was tampered with: " if isinstance(error, TrailBrokenError) else ""
            if as_json:
                print_json({"intact": False, "reason": f"{tampered}{error}"})
            raise CommandError(f"{tampered}{error}", EXIT_BROKEN) from error
        restored = guard.counter.read().restored
    noted_as = f"{end.seq}:{end.mac}"
    said = [*(f"restored: {backup}" for backup in restored), f"{end.entries} entries, all as they were written"]
    facts = {"intact": True, "entries": end.entries, "end": noted_as, "restored": restored}
    answer("\n".join([*said, f"end: {noted_as}"]), facts, as_json=as_json)


def export(
    form: Annotated[
        str, typer.Option("--format", help="json (a line each), atna (XML, a line each) or syslog.")
    ] = "json",
    after: Annotated[int, typer.Option(min=0, help="Only entries behind this number.")] = 0,
    syslog: Annotated[
        str | None, typer.Option(metavar="URL", help="Send it there: udp://, tcp:// or tls://HOST.")
    ] = None,
    data_dir: DataDirHere = None,
) -> None:
    """Write the entries to stdout, or send them to a syslog receiver. That it was done becomes an entry, too."""
    if form not in FORMATS:
        raise CommandError(f"{form} is no format; there are {', '.join(FORMATS)}")
    with _trail(data_dir) as (database, settings):
        from med3d_service.storage.keys import load_keys
        from med3d_service.trust.audit import Action, AuditEvent, AuditTrail, command_line
        from med3d_service.trust.audit.trail import entries

        with database.read() as session:
            sent = (
                _send(entries(session, after), syslog, settings)
                if syslog
                else _print(entries(session, after), form, settings)
            )
        detail: dict[str, str | int] = {"entries": sent, "after": after, "to": "syslog" if syslog else "stdout"}
        event = AuditEvent(command_line(), Action.AUDIT, object_kind="audit_trail", detail=detail)
        AuditTrail(database, load_keys(settings).audit).record(event)
    typer.echo(f"{sent} entries", err=True)


def renew_counter(data_dir: DataDirHere = None, as_json: AsJson = False) -> None:
    """Make the sealed counter (trust.sealed) anew where it was lost for good. That becomes an alert, and stays one.

    Lists the keys that work by their rows: those that were revoked since an older database was put back are among them.
    """
    with _trail(data_dir) as (database, settings):
        from med3d_service.storage.keys import load_keys
        from med3d_service.trust.audit import AuditTrail
        from med3d_service.trust.establishing import renew_counter as renew

        assert database.guard is not None
        working = renew(database, database.guard, AuditTrail(database, load_keys(settings).audit))
    said = ["the sealed counter begins anew; revoke what should not work:", *(f"works: {prefix}" for prefix in working)]
    answer("\n".join(said), {"working_keys": list(working)}, as_json=as_json)


def _print(rows: Iterator["AuditRow"], form: str, settings: "Settings") -> int:
    from med3d_service.trust.audit.atna import audit_message
    from med3d_service.trust.audit.forwarding import syslog_message

    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - counted
        if form == "json":
            line = json.dumps(_as_dict(row)).encode()
        elif form == "atna":
            line = audit_message(row, source="med3d", site=settings.site)
        else:
            line = syslog_message(row, settings.site)
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
    return count


def _send(rows: Iterator["AuditRow"], url: str, settings: "Settings") -> int:
    from med3d_service.trust.audit.forwarding import syslog_message
    from med3d_service.trust.audit.syslog import SyslogReceiver

    count = 0
    try:
        with SyslogReceiver(url, settings.audit_syslog_ca_file) as receiver:
            for count, row in enumerate(rows, 1):  # noqa: B007 - counted
                receiver.send(syslog_message(row, settings.site))
    except (OSError, ValueError) as error:
        raise CommandError(f"not sent to {url}: {error}") from error
    return count


def _as_dict(row: "AuditRow") -> dict[str, Any]:
    columns = ("seq", "actor_kind", "actor", "role", "address", "action", "outcome", "object_kind", "object_id", "mac")
    at = datetime.fromtimestamp(row.at, UTC).isoformat()
    return {"at": at, **{name: getattr(row, name) for name in columns}, "detail": json.loads(row.detail)}


@contextmanager
def _trail(data_dir: Path | None) -> Iterator[tuple["Database", "Settings"]]:
    settings = service_here(data_dir)
    from med3d_service.storage.opening import open_database

    database = open_database(settings)
    try:
        yield database, settings
    finally:
        database.close()


def _noted(text: str | None) -> Any:
    from med3d_service.trust.audit.trail import TrailEnd

    if text is None:
        return None
    found = re.fullmatch(r"(\d+):([0-9a-f]{64})", text)
    if found is None:
        raise CommandError(f"{text} is no end of a trail: give it as `med3d audit verify` prints it")
    return TrailEnd(int(found[1]), found[2], 0)
