"""`med3d rules`: what the routing rules would do, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.screens import AsJson, print_json, table_console
from med3d_pipeline.counting import counted

if TYPE_CHECKING:
    from med3d_service.studies.arrivals.routing import RoutingRules, Verdict
    from med3d_service.studies.dicom_instances.instance_headers import InstanceHeaders


@dataclass
class _Series:
    headers: "InstanceHeaders"
    verdict: "Verdict"
    images: int = 0


def rules_commands() -> typer.Typer:
    """`med3d rules test`."""
    group = typer.Typer(help="Routing rules: which arriving series are worth a run.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("test")(try_rules)
    return group


def try_rules(
    folder: Annotated[Path, typer.Argument(exists=True, help="DICOM files, in any folders.")],
    rules: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The rules' TOML. Default: MED3D_RULES_FILE.")
    ] = None,
    ae_title: Annotated[str, typer.Option(help="As if this AE title had sent them.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say for each series in FOLDER what would happen, by which rule, and why not by those before it."""
    with extra("service"):
        from med3d_service.settings import Settings
        from med3d_service.studies.arrivals.routing import InvalidRulesError, load_rules
    try:
        loaded = load_rules(rules or Settings().rules_file)
    except InvalidRulesError as error:
        raise CommandError(str(error)) from error
    series, refused = _judged(folder, loaded, ae_title)
    if not series and not refused:
        raise CommandError(f"{folder} holds no files")
    if as_json:
        print_json({"series": [_as_dict(one) for one in series], "refused_files": refused})
        return
    console = table_console()
    if series:
        console.print(_table(series))
    for code, count in sorted(refused.items()):
        console.print(f"{counted(count, 'file', 'files')} would be refused: {code}", highlight=False)


def _judged(folder: Path, rules: "RoutingRules", ae_title: str) -> tuple[list[_Series], dict[str, int]]:
    from med3d_service.studies.dicom_instances.instance_headers import HEAD_BYTES, InstanceRefused, read_headers

    series: dict[tuple[str, str, str], _Series] = {}
    refused: dict[str, int] = {}
    for path in _files(folder):
        with path.open("rb") as file:
            try:
                headers = read_headers(file.read(HEAD_BYTES))
            except InstanceRefused as error:
                refused[error.code] = refused.get(error.code, 0) + 1
                continue
        key = (headers.study_uid, headers.series_uid, headers.sop_class_uid)
        found = series.setdefault(key, _Series(headers, rules.judge(headers, ae_title)))
        found.images += 1
    return list(series.values()), refused


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file()) if folder.is_dir() else iter((folder,))


def _table(series: list[_Series]) -> Table:
    table = Table(title_justify="left")
    for column in ("series", "images", "what happens", "why"):
        table.add_column(column)
    for one in series:
        description = one.headers.description or one.headers.protocol or "(no description)"
        table.add_row(f"{one.headers.modality} {description}", str(one.images), _outcome(one), _reason(one))
    return table


def _as_dict(one: _Series) -> dict[str, Any]:
    rule = one.verdict.rule if one.headers.is_input else None
    runs = rule is not None and rule.action != "ignore"
    return {
        "modality": one.headers.modality,
        "description": one.headers.description or one.headers.protocol,
        "images": one.images,
        "is_input": one.headers.is_input,
        "runs": runs,
        "rule": rule.name if rule else None,
        "priority": rule.priority if rule and runs else None,
        "bundle": rule.bundle if rule and runs else None,
        "why": _reason(one),
    }


def _outcome(one: _Series) -> str:
    if not one.headers.is_input:
        return "taken, no input"
    rule = one.verdict.rule
    if rule is None or rule.action == "ignore":
        return "kept, no run"
    return f"run, {rule.priority}" + (f", bundle {rule.bundle}" if rule.bundle else "")


def _reason(one: _Series) -> str:
    if not one.headers.is_input:
        return "a report, a picture or an object of our own"
    misfits = "; ".join(f"'{name}' does not fit: {what}" for name, what in one.verdict.misfits)
    decided = f"rule '{one.verdict.rule.name}'" if one.verdict.rule else "no rule fits"
    absent = f"{', '.join(one.verdict.absent)} absent, which is no reason to ignore" if one.verdict.absent else ""
    told = "; ".join(filter(None, (absent, misfits)))
    return f"{decided} ({told})" if told else decided
