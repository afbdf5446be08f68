"""`med3d settings`: what the environment sets, what is left at its default, and names that there are not."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.screens import AsJson, print_json, table_console
from med3d_contract.variables.names import PREFIX, unknown_variables
from med3d_contract.variables.values import each_wrong_setting, missing_file

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

READ = ("bundle", "bundle_keys", "calibration", "calibration_keys")
READ_ENDINGS = ("s_file", "ca_file", "key_file", "url_file", "tls_cert", "tls_key", "tls_client_ca")
"""Which settings, and how those that end alike, name a file or folder that is read."""


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
    refuse_wrong_values()


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


def refuse_wrong_values(but: Collection[str] = ()) -> None:
    """Raise CommandError that names each value of the environment that service or worker would not take.

    What a worker alone must be told is not asked for: most machines have none that is set by hand.
    but: variables of files that are not looked for.
    """
    from med3d_service.network.listener.admission import AllowList, InvalidCallerError
    from med3d_service.settings import Settings
    from med3d_service.storage.keys import keys_of
    from med3d_worker.settings import WorkerSettings

    said: list[str] = []
    try:
        settings = Settings()
        AllowList.parse("MED3D_DICOM_ALLOWED", settings.dicom_allowed)
        if settings.site_key is not None:
            keys_of(settings, settings.site_key.get_secret_value())
    except ValidationError as error:
        said.extend(each_wrong_setting(error))
    except InvalidCallerError as error:
        said.append(str(error))
    except ValueError as error:  # of a key
        said.append(f"MED3D_SITE_KEY: {error}")
    except OSError as error:  # a file that MED3D_X_FILE names
        said.append(f"{error.filename} cannot be read ({error.strerror}); a MED3D_..._FILE names it")
    must = {"store_url": "file:///none", "worker_key": "none"}
    absent: dict[str, Any] = {name: value for name, value in must.items() if PREFIX + name.upper() not in os.environ}
    try:
        WorkerSettings(**absent)
    except ValidationError as error:
        said.extend(each_wrong_setting(error))
    for name in sorted(Settings.model_fields.keys() | WorkerSettings.model_fields.keys()):
        variable = PREFIX + name.upper()
        if (name in READ or name.endswith(READ_ENDINGS)) and variable in os.environ.keys() - but:
            said.extend(missing_file(variable, Path(os.environ[variable])))
    if said:
        raise CommandError("; ".join(dict.fromkeys(said)))


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "value", "from", "read by"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(row["variable"], row["value"], row["from"], ", ".join(row["read_by"]))
    table_console().print(table)
