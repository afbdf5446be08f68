"""`med3d cohort summary`, `diff` and `export`."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.cohort.bids_derivatives import write_derivatives
from med3d_cli.connection import connect_to_cohorts
from med3d_cli.errors import CommandError
from med3d_cli.kept_file import save
from med3d_cli.screens import AsJson, print_json, table_console
from med3d_client.cohorts import CohortsClient

Cohort = Annotated[str, typer.Argument(metavar="COHORT", help="Name or id.")]
LEFT_OUT = (
    ("scans that the model learned from", "training_scans"),
    ("answers that a person rejected", "rejected"),
    ("answers without a known age", "ageless"),
)
KINDS = {".html": "html", ".csv": "csv", ".parquet": "parquet", ".json": "json"}


def summary(
    cohort: Cohort,
    bundle: Annotated[str | None, typer.Option(help="The model; else the one under way, or last.")] = None,
    out: Annotated[Path | None, typer.Option(help="A page to keep: .html, or .json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sum up a cohort by one model: who has a number, how far it is from age, who is farthest off, who has none."""
    client = connect_to_cohorts()
    params = {} if bundle is None else {"bundle": bundle}
    if out is not None:
        kind = kind_of(out, {suffix: KINDS[suffix] for suffix in (".html", ".json")})
        save(out, client.table(f"/cohorts/{cohort}/summary", params | {"format": kind}))
        return
    found = client.summary(cohort, params)
    if as_json:
        print_json(found)
    else:
        typer.echo(f"{found['cohort']}: {found['bundle']['name']} {found['bundle']['version']}")
        table_console().print(_summary_table(found))


def diff(
    cohort: Cohort,
    first: Annotated[
        str | None, typer.Option("--from", help="The bundle to compare with; else the one before.")
    ] = None,
    second: Annotated[str | None, typer.Option("--to", help="The bundle that is compared; else the latest.")] = None,
    out: Annotated[Path | None, typer.Option(help="A file: .html, .json, .csv or .parquet.")] = None,
) -> None:
    """Compare two bundles on a cohort: shift, agreement, accuracy, who changed, drift of what comes in."""
    client = connect_to_cohorts()
    named = {"from": first, "to": second}
    params = {name: bundle for name, bundle in named.items() if bundle is not None}
    if out is None:
        Console().print(_diff_table(client.diff(cohort, params)))
        return
    save(out, client.table(f"/cohorts/{cohort}/diff", params | {"format": kind_of(out, KINDS)}))


def export(
    cohort: Cohort,
    out: Annotated[Path | None, typer.Option(help="A file: .csv or .parquet. Default: CSV on standard output.")] = None,
    layout: Annotated[
        Literal["long", "wide"], typer.Option(help="A row for each answer, or for each member.")
    ] = "long",
    bundle: Annotated[list[str] | None, typer.Option(help="Only of these; default: all that it went through.")] = None,
    bids: Annotated[
        Path | None, typer.Option(help="A BIDS dataset: writes derivatives/med3d below it, by the newest bundle.")
    ] = None,
) -> None:
    """Export a cohort's answers, under the pseudonyms that it was imported with."""
    client = connect_to_cohorts()
    params: dict[str, Any] = {"layout": layout, "bundle": bundle or []}
    if bids is not None:
        if out is not None or layout != "long":
            raise CommandError("--bids goes with neither --out nor --layout")
        typer.echo(f"{write_derivatives(bids, _rows(client, cohort, params))} participants in {bids}/derivatives/med3d")
        return
    if out is not None:
        kind = kind_of(out, {suffix: KINDS[suffix] for suffix in (".csv", ".parquet")})
        save(out, client.table(f"/cohorts/{cohort}/export", params | {"format": kind}))
        return
    stream = typer.get_binary_stream("stdout")
    for piece in client.table(f"/cohorts/{cohort}/export", params):
        stream.write(piece)


def kind_of(out: Path, kinds: dict[str, str]) -> str:
    """Return the form that a file's ending names. Raises CommandError where it names none of ``kinds``."""
    if out.suffix not in kinds:
        raise CommandError(f"{out.name} ends in none of {', '.join(kinds)}")
    return kinds[out.suffix]


def _rows(client: CohortsClient, cohort: str, params: dict[str, Any]) -> Iterator[dict[str, str]]:
    pieces = client.table(f"/cohorts/{cohort}/export", params | {"format": "csv"})
    return csv.DictReader(_lines(pieces))


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() + "\n" for line in lines)
    if rest:
        yield rest.decode()


def _summary_table(found: dict[str, Any]) -> Table:
    """Return the figures that one looks at first; the page has the others."""
    table = Table(box=None, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    members = found["members"]
    table.add_row("members", str(sum(members.values())))
    for state, count in members.items():
        if count:
            table.add_row(state, str(count))
    if found["mean_absolute_error"] is not None:
        error = found["mean_absolute_error"]
        between = "" if error["lower"] is None else f" ({error['lower']:.2f} to {error['upper']:.2f})"
        table.add_row(
            f"brain age, mean absolute error, {found['people']} people", f"{error['mean']:.2f}{between} years"
        )
        table.add_row("brain age, mean gap", _mean(found["mean_gap"], "years"))
        if found["correlation"] is not None:
            table.add_row("brain age, correlation with age", f"{found['correlation']:.3f}")
        table.add_row("marked for review", f"{found['to_review']} of {found['people']}")
    for words, key in LEFT_OUT:
        if found[key]:
            table.add_row(f"in no accuracy: {words}", str(found[key]))
    for problem in found["without_number"]:
        table.add_row(f"{problem['status']}: {problem['code']}", str(problem["count"]))
    return table


def _diff_table(found: dict[str, Any]) -> Table:
    """Return the figures that one looks at first; the page has the others."""
    names = [f"{found[side]['name']} {found[side]['version']}" for side in ("first", "second")]
    table = Table(title=f"{found['cohort']}: {names[0]} and {names[1]}", title_justify="left", box=None)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("members", str(found["members"]))
    table.add_row("with a number by both", str(found["both"]))
    for title, key, unit in (("brain age", "brain_age", "years"), ("SDMT", "sdmt", "points")):
        for words, value in _figures(found[f"{key}_shift"], found[f"{key}_accuracy"], unit):
            table.add_row(f"{title}, {words}", value)
    if found["training_scans"]:
        table.add_row("scans that a model learned from: in no accuracy", str(found["training_scans"]))
    for words in ("newly_refused", "newly_accepted", "newly_failed", "decision_changes", "gap_crossings"):
        table.add_row(words.replace("_", " "), str(found[words]["count"]))
    notable = sum(measure["notable"] for origin in found["drift"] for measure in origin["measures"])
    table.add_row("measures that drift", str(notable))
    if any(found["unknown_sites"]):
        table.add_row("sites that were not corrected for", " and ".join(map(str, found["unknown_sites"])))
    return table


def _figures(shift: dict[str, Any] | None, accuracy: dict[str, Any] | None, unit: str) -> Iterator[tuple[str, str]]:
    if shift is not None:
        low, high = shift["limits_of_agreement"]
        yield "shift", _mean(shift["shift"], unit)
        yield "limits of agreement", f"{low:+.2f} to {high:+.2f} {unit}"
    if accuracy is not None:
        before, after = accuracy["mae"]
        yield f"mean absolute error, {accuracy['people']} people", f"{before:.2f} and {after:.2f} {unit}"
        yield "its change", _mean(accuracy["mae_change"], unit)


def _mean(mean: dict[str, Any], unit: str) -> str:
    interval = "" if mean["lower"] is None else f" ({mean['lower']:+.2f} to {mean['upper']:+.2f})"
    return f"{mean['mean']:+.2f}{interval} {unit}"
