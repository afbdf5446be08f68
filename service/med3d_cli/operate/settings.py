"""`med3d settings`: what the environment sets, what is left at its default, and names that there are not."""

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.screens import AsJson, print_json, table_console

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PREFIX = "MED3D_"
OF_THE_CLIENT = frozenset({"MED3D_URL", "MED3D_API_KEY", "MED3D_API_KEY_FILE", "MED3D_HOOK_SECRET"})
NOT_OURS = re.compile(r"MED3D_(TEST_.*|FIELD_CASES|PYTHON|.*_(IMAGE|MEMORY))")
"""Of compose files and of tests."""


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
    if unknown := unknown_settings(fields, os.environ):
        raise CommandError("; ".join(unknown))
    try:
        Settings()
    except ValidationError as error:
        raise CommandError(in_words(error)) from error
    except OSError as error:  # a file that MED3D_X_FILE names
        raise CommandError(f"{error.filename} cannot be read ({error.strerror}); a MED3D_..._FILE names it") from error


def effective_settings(
    fields: Mapping[str, Mapping[str, "FieldInfo"]], environment: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Each setting by name: variable, value as written (no secret), where it is from, who reads it, what it means."""
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


def unknown_settings(fields: Mapping[str, Iterable[str]], environment: Iterable[str]) -> list[str]:
    """Sentences on variables of ours that nobody reads, each with the nearest name that there is."""
    names = {PREFIX + name.upper() for of_one in fields.values() for name in of_one}
    known = names | {f"{name}_FILE" for name in names} | OF_THE_CLIENT
    found = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not NOT_OURS.fullmatch(name):
            near = difflib.get_close_matches(name, known, n=1)
            found.append(f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else ""))
    return found


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
