"""`med3d cohort trajectory`: one person over time."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.cohort.cohort_reports import kind_of
from med3d_cli.connection import connect_to_cohorts
from med3d_cli.kept_file import save
from med3d_cli.screens import AsJson, print_json

FIGURES = {".png": "png", ".pdf": "pdf", ".svg": "svg"}


def trajectory(
    participant: Annotated[str, typer.Argument(help="The pseudonym that the scans were sent or imported under.")],
    bundle: Annotated[str | None, typer.Option(help="A model other than the default one.")] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", "--svg", help="Also draw it into this file: .png, .pdf or .svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show all scans of a person: brain age, gap and SDMT with intervals, and where a comparison breaks."""
    form = None if figure is None else kind_of(figure, FIGURES)
    client = connect_to_cohorts()
    subject = client.subject(participant)
    params = {} if bundle is None else {"bundle": bundle}
    found = client.trajectory(subject, params)
    if as_json:
        print_json(found)
    else:
        _tell(participant, found)
    if figure is not None:
        pieces = client.table(f"/subjects/{subject}/trajectory", params | {"format": form})
        save(figure, pieces, said_on_stderr=as_json)


def _tell(participant: str, found: dict[str, Any]) -> None:
    Console().print(_table(participant, found))
    for change in found["reliable_changes"]:
        words = "more" if change["reliable"] else "no more"
        typer.echo(
            f"{change['measure']}: {change['change']:+.1f}, {words} than test-retest error ({change['least']:.1f})"
        )
    if not found["test_retest_known"] and len(found["visits"]) > 1:
        typer.echo("the bundle states no test-retest error, so nothing is said of change")


def _table(participant: str, found: dict[str, Any]) -> Table:
    bundle = found["bundle"]
    table = Table(title=f"{participant}, {bundle['name']} {bundle['version']}", title_justify="left", box=None)
    for name in ("visit", found["time_basis"].replace("_", " "), "brain age", "gap", "SDMT", "measured", ""):
        table.add_column(name, overflow="fold")
    for visit in found["visits"]:
        table.add_row(
            visit["visit"] or "",
            f"{visit['time']:.{0 if found['time_basis'] == 'order' else 2}f}",
            _estimate(visit["brain_age"], visit["brain_age_interval"]) or str(visit["code"]),
            "" if visit["gap"] is None else f"{visit['gap']:+.1f}",
            _estimate(visit["sdmt"], visit["sdmt_interval"]),
            "" if visit["sdmt_measured"] is None else f"{visit['sdmt_measured']:g}",
            ", ".join(visit["breaks"]),
        )
    return table


def _estimate(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" + ("" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})")
