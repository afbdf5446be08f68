"""`med3d keys ...`: the API keys of the service whose database the settings name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from med3d_cli.errors import CommandError
from med3d_cli.operate.service_here import DataDirHere, service_here
from med3d_cli.screens import AsJson, answer, print_json, table_console

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from med3d_service.storage.database import Database
    from med3d_service.trust.access.api_keys import MadeKey
    from med3d_service.trust.audit import AuditTrail

ROLES = ("metrics", "viewer", "submitter", "operator", "admin", "worker")
UNITS_S = {"h": 3600, "d": 86400, "w": 7 * 86400}

Prefix = Annotated[str, typer.Argument(metavar="PREFIX", help="The 8 letters after m3d_, as `med3d keys list` shows.")]
Out = Annotated[Path | None, typer.Option(help="Write the key there (0600, a new file) and do not show it.")]


def key_commands() -> typer.Typer:
    """Return the group of commands."""
    app = typer.Typer(help="API keys: who may call this service, and as what.", no_args_is_help=True)
    for command in (create, list_, rotate, revoke):
        app.command(name=command.__name__.strip("_"))(command)
    return app


def create(
    role: Annotated[str, typer.Option(help=" < ".join(ROLES[:5]) + ", or worker.")],
    name: Annotated[str, typer.Option(help="What it is for; not a patient's name.")] = "",
    clinical: Annotated[bool, typer.Option("--clinical", help="May see, and search by, what names a patient.")] = False,
    site: Annotated[str, typer.Option(help="Sees and sends studies of this site alone. Default: sees all.")] = "*",
    expires: Annotated[str | None, typer.Option(help="As in 12h, 90d, 52w. Default: never.")] = None,
    out: Out = None,
    data_dir: DataDirHere = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once: the service keeps its digest."""
    if role not in ROLES:
        raise CommandError(f"{role} is no role; there are {', '.join(ROLES)}")
    if role in {"metrics", "worker"} and clinical:
        raise CommandError(f"a key of the role {role} never sees who a patient is: leave --clinical out")
    valid_s = None if expires is None else _seconds(expires)
    with _database(data_dir) as (database, trail):
        from med3d_service.trust.access import Grant, Role
        from med3d_service.trust.access.api_keys import create_key

        with database.write() as session:
            made = create_key(session, Grant(Role(role), clinical, site), name=name[:200], valid_s=valid_s)
            _note(trail, session, made.prefix, "created", role=role, site=site, clinical=int(clinical))
            _hand_over(made, out, as_json=as_json)


def list_(data_dir: DataDirHere = None, as_json: AsJson = False) -> None:
    """Show all keys: prefix, role, site, and when each was made, last used, and ends."""
    names = ("prefix", "role", "site", "name", "created", "last used", "ends")
    rows = []
    with _database(data_dir) as (database, _):
        from med3d_service.storage.guard import is_genuine
        from med3d_service.trust.access.api_keys import list_keys

        with database.read() as session:
            for key in list_keys(session):
                role = f"{key.role} + clinical" if key.clinical else key.role
                ends = f"revoked {_day(key.revoked_at)}" if key.revoked_at else _day(key.expires_at)
                if not is_genuine(session, key):
                    ends = "opens nothing: changed past the service"
                rows.append((key.prefix, role, key.site, key.name, _day(key.created_at), _day(key.last_used_at), ends))
    if as_json:
        print_json([{name.replace(" ", "_"): cell for name, cell in zip(names, row, strict=True)} for row in rows])
        return
    table = Table(box=None, pad_edge=False)
    for column in names:
        table.add_column(column, no_wrap=column == "prefix")
    for row in rows:
        table.add_row(*row)
    table_console().print(table)


def rotate(
    prefix: Prefix,
    overlap: Annotated[str, typer.Option(help="So long the old one works beside the new one.")] = "24h",
    out: Out = None,
    data_dir: DataDirHere = None,
    as_json: AsJson = False,
) -> None:
    """Make a key that may do the same; the old one ends after the overlap."""
    overlap_s = _seconds(overlap)
    with _database(data_dir) as (database, trail):
        from med3d_service.trust.access.api_keys import UnknownKeyError, rotate_key

        try:
            with database.write() as session:
                made = rotate_key(session, prefix, overlap_s=overlap_s)
                _note(trail, session, prefix, "rotated", successor=made.prefix, overlap_s=int(overlap_s))
                _hand_over(made, out, as_json=as_json)
        except UnknownKeyError as error:
            raise _unknown(prefix) from error
    typer.echo(f"{prefix} ends in {overlap}.", err=True)


def revoke(prefix: Prefix, data_dir: DataDirHere = None, as_json: AsJson = False) -> None:
    """End a key now."""
    with _database(data_dir) as (database, trail):
        from med3d_service.trust.access.api_keys import UnknownKeyError, revoke_key

        try:
            with database.write() as session:
                revoke_key(session, prefix)
                _note(trail, session, prefix, "revoked")
        except UnknownKeyError as error:
            raise _unknown(prefix) from error
    answer(f"{prefix} opens nothing any more.", {"prefix": prefix, "revoked": True}, as_json=as_json)


@contextmanager
def _database(data_dir: Path | None) -> Iterator[tuple["Database", "AuditTrail"]]:
    settings = service_here(data_dir)
    from med3d_service.storage.keys import load_keys
    from med3d_service.storage.opening import open_database
    from med3d_service.storage.sealed_counter import CounterBrokenError
    from med3d_service.trust.audit import AuditTrail

    database = open_database(settings)
    try:
        yield database, AuditTrail(database, load_keys(settings).audit)
    except CounterBrokenError as error:
        raise CommandError(str(error)) from error
    finally:
        database.close()


def _note(trail: "AuditTrail", session: "Session", prefix: str, change: str, **detail: str | int) -> None:
    from med3d_service.trust.audit import Action, AuditEvent, command_line

    said = AuditEvent(
        command_line(), Action.SECURE, object_kind="key", object_id=prefix, detail={"change": change} | detail
    )
    trail.append(session, said)


def _hand_over(made: "MadeKey", out: Path | None, *, as_json: bool) -> None:
    """Write it within the transaction: a key that could not be handed over was never made."""
    if out is None:
        answer(made.text, {"prefix": made.prefix, "key": made.text}, as_json=as_json)
        return
    from med3d_service.storage.keys import write_secret

    try:
        write_secret(out, made.text + "\n")
    except OSError as error:
        raise CommandError(f"{out} cannot be written ({error.strerror}); no key was made") from error
    answer(f"{made.prefix}: {out}", {"prefix": made.prefix, "file": out}, as_json=as_json)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,5})([hdw])", text)
    if found is None:
        raise CommandError(f"{text} is no time: write hours, days or weeks, as in 12h, 90d, 52w")
    return float(int(found[1]) * UNITS_S[found[2]])


def _day(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _unknown(prefix: str) -> CommandError:
    return CommandError(f"no key that works has the prefix {prefix}: see `med3d keys list`")
