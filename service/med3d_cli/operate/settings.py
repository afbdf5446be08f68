"""`med3d settings`: what the environment sets, what is left at its default, and names that there are not."""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.screens import AsJson, print_json, table_console
from med3d_contract.variables import PREFIX, unknown_variables

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def settings(
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not at its default.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show each setting: value, where it is from, who reads it. Exits with status 1 on a name or value that is none."""
    with extra("service", "worker"):
        from med3d_service.settings import Settings
        from med3d_worker.settings import WorkerSettings
    fields = {"service": Settings.model_fields, "worker": WorkerSettings.model_fields}
    rows = [row for row in effective_settings(fields, os.environ) if not changed or row["from"] != "default"]
    if as_json:
        print_json(rows)
    else:
        _print(rows)
    refuse_unknown_variables()
    try:
        Settings()
    except ValidationError as error:
        raise CommandError(in_words(error)) from error
    except OSError as error:  # a file that MED3D_X_FILE names
        raise CommandError(f"{error.filename} cannot be read ({error.strerror}); a MED3D_..._FILE names it") from error


def effective_settings(
    fields: Mapping[str, Mapping[str, "FieldInfo"]], environment: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Return each setting by name: variable, value as written (no secret), source, readers, meaning."""
    merged = {name: field for of_one in reversed([*fields.values()]) for name, field in of_one.items()}
    for name, field in sorted(merged.items()):
        variable = PREFIX + name.upper()
        is_secret = "Secret" in str(field.annotation)
        if variable in environment:
            value, origin = "(secret)" if is_secret else environment[variable], "environment"
        elif f"{variable}_FILE" in environment:
            value, origin = environment[f"{variable}_FILE"], "file"
        else:
            value, origin = "(secret)" if is_secret and field.default else _plain(field), "default"
        readers = [who for who, of_one in fields.items() if name in of_one]
        yield {"variable": variable, "value": value, "from": origin, "read_by": readers, "meaning": field.description}


def _plain(field: "FieldInfo") -> str:
    if field.is_required() or field.default_factory is not None:
        return ""
    return "" if field.default in (None, ()) else str(field.default)


def refuse_unknown_variables() -> None:
    """Raise CommandError where the environment holds a variable of ours that nobody reads."""
    if unknown := [*unknown_variables(os.environ)]:
        raise CommandError("; ".join(unknown))


def in_words(error: ValidationError) -> str:
    """Name variable, value and what is wrong with it, for each."""
    said = []
    for one in error.errors():
        where = ".".join(map(str, one["loc"]))
        value = "" if one["type"] == "missing" or "secret" in where or "key" in where else f"={one['input']}"
        said.append(f"{PREFIX}{where.upper()}{value}: {one['msg']}" if where else one["msg"])
    return "; ".join(said)


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "value", "from", "read by"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(row["variable"], row["value"], row["from"], ", ".join(row["read_by"]))
    table_console().print(table)
