"""`med3d cohort run|status|pause|resume|cancel`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from med3d_cli.cohort.cohort_display import progress_panel
from med3d_cli.connection import connect_to_cohorts
from med3d_cli.screens import AsJson, answer, print_json
from med3d_contract.cohorts import CohortProgress, ReprocessingRequest, ReprocessingView

EXIT_WITHOUT_NUMBERS = 3
EXIT_FAILED = 4
Cohort = Annotated[str, typer.Argument(metavar="COHORT", help="Name or id.")]
Bundle = Annotated[str | None, typer.Option(help="A model other than the cohort's.")]


def run(
    cohort: Cohort,
    bundle: Bundle = None,
    retry_faults: Annotated[bool, typer.Option("--retry-faults", help="Also what failed for good, once.")] = False,
    tonight: Annotated[bool, typer.Option("--tonight", help="Only within the cohort's nightly window.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show the progress until it is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Work a cohort through: each member gets a run by the bundle that has none, beside the answers that are there."""
    client = connect_to_cohorts()
    begun = client.reprocess(cohort, ReprocessingRequest(bundle=bundle, retry_faults=retry_faults, in_window=tonight))
    if not (wait and as_json):
        _say(begun, as_json=as_json)
    if wait:
        raise typer.Exit(_exit_code(_follow(cohort, begun.bundle.digest, as_json=as_json)))


def status(
    cohort: Cohort,
    bundle: Bundle = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until it is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a cohort is: counts, rate, time left, the slowest stage, what went wrong by code."""
    if as_json:
        print_json(connect_to_cohorts().progress(cohort, bundle))
    elif follow:
        _follow(cohort, bundle)
    else:
        Console().print(progress_panel(connect_to_cohorts().progress(cohort, bundle)))


def pause(cohort: Cohort, as_json: AsJson = False) -> None:
    """Begin nothing more; what is in work is finished."""
    _say(connect_to_cohorts().move(cohort, "pause"), as_json=as_json)


def resume(cohort: Cohort, as_json: AsJson = False) -> None:
    """Go on."""
    _say(connect_to_cohorts().move(cohort, "resume"), as_json=as_json)


def cancel(cohort: Cohort, as_json: AsJson = False) -> None:
    """End it here. Answers stay; the next run goes on behind them."""
    _say(connect_to_cohorts().move(cohort, "cancel"), as_json=as_json)


def _follow(cohort: str, bundle: str | None, *, as_json: bool = False) -> CohortProgress | None:
    last = None
    if as_json:
        for progress in connect_to_cohorts().follow(cohort, bundle):
            last = progress
        print_json(last)
        return last
    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        for last in connect_to_cohorts().follow(cohort, bundle):
            live.update(progress_panel(last), refresh=True)
    if not console.is_terminal:
        console.print()  # into a file or pipe Live leaves the last line open
    return last


def _exit_code(progress: CohortProgress | None) -> int:
    if progress is None or progress.members.failed:
        return EXIT_FAILED
    return EXIT_WITHOUT_NUMBERS if progress.members.refused else 0


def _say(view: ReprocessingView, *, as_json: bool) -> None:
    answer(f"cohort {view.cohort}: {view.status} with {view.bundle.name} {view.bundle.version}", view, as_json=as_json)
