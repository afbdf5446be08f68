"""`med3d submit`, `runs` and `show`: the results API from the command line."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.connection import connect
from med3d_cli.ending import ends_in_order
from med3d_cli.errors import CommandError
from med3d_cli.kept_file import write_whole
from med3d_cli.screens import AsJson, print_json, table_console
from med3d_cli.studies.explanation_table import explanation_table
from med3d_cli.studies.following import follow
from med3d_cli.studies.options import SERIES_HELP
from med3d_cli.studies.result_table import result_table
from med3d_client.results import ResultsClient, StudyOptions, Submitted
from med3d_client.study_stream import open_study
from med3d_contract.results import Priority, RunStatus, RunView, Sex

EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_FAILED = 4
WHOLE_IDS_COLUMNS = 100
"""On narrower screens a run is named by the beginning of its id, which every command takes."""
SHORT_ID = 8
RUN_HELP = "As `submit` and `runs` name it; the beginning of its id is enough."


def submit(
    paths: Annotated[list[Path], typer.Argument(help="Each a study: a folder, an archive, a .dcm or a .nii[.gz].")],
    age: Annotated[float | None, typer.Option(min=0, max=120, help="At the scan, in years.")] = None,
    sex: Annotated[Sex | None, typer.Option(help="F or M.")] = None,
    subject: Annotated[str | None, typer.Option(help="Your pseudonym for the subject.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Who goes first.")] = None,
    bundle: Annotated[str | None, typer.Option(help="A model other than the default one.")] = None,
    series: Annotated[str | None, typer.Option(help=SERIES_HELP)] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until there is an answer, and show it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send studies to the service. A folder with its sub-folders is one study."""
    options = StudyOptions(age, sex, subject, priority, bundle, series)
    client = connect()
    submitted = [_submit_one(client, path, options, quiet=as_json) for path in paths]
    if as_json and not wait:
        print_json([{"input": str(path), **asdict(one)} for path, one in zip(paths, submitted, strict=True)])
    if wait:
        answers = [_wait(client, one, quiet=as_json) for one in submitted]
        if as_json:
            print_json(answers)
        raise typer.Exit(exit_code(answers))


def _submit_one(client: ResultsClient, path: Path, options: StudyOptions, *, quiet: bool) -> Submitted:
    console = Console(stderr=True)
    with ends_in_order(), open_study(path) as upload, console.status("sending"):
        submitted = client.submit(upload, options)
    if quiet:
        return submitted
    known = " (known already)" if submitted.known else ""
    typer.echo(f"{path}: run {submitted.run_id}, study {submitted.study_id}, {submitted.status.value}{known}")
    return submitted


def _wait(client: ResultsClient, submitted: Submitted, *, quiet: bool) -> RunView:
    run = follow(client, submitted.run_id, Console(stderr=True))
    if not quiet:
        Console().print(result_table(f"run {run.run_id}", run))
    return run


def exit_code(runs: list[RunView]) -> int:
    """Return 0 where every run has a result, 4 where one failed, else 3 where one was refused or cancelled."""
    statuses = {run.status for run in runs}
    if RunStatus.FAILED in statuses:
        return EXIT_FAILED
    return EXIT_REFUSED if statuses - {RunStatus.COMPLETED} else 0


def runs(
    status: Annotated[RunStatus | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs."""
    found = connect().runs(status=status, limit=limit)
    if as_json:
        print_json(found)
        return
    console = table_console()
    narrow = console.width < WHOLE_IDS_COLUMNS
    shown = short_ids([run.run_id for run in found]) if narrow else {run.run_id: run.run_id for run in found}
    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True)
    for name in ("status", "priority", "created", "brain age", "decision"):
        table.add_column(name, overflow="fold")
    for run in found:
        created = run.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        cells = (shown[run.run_id], run.status.value, run.priority.value, created, *_answer_cells(run))
        table.add_row(*cells)
    console.print(table)


def short_ids(run_ids: list[str]) -> dict[str, str]:
    """Shorten ids alike, to what still tells them apart."""
    length = SHORT_ID
    while len({one[:length] for one in run_ids}) < len(set(run_ids)):
        length += 1
    return {one: one[:length] for one in run_ids}


def _answer_cells(run: RunView) -> tuple[str, str]:
    """Return brain age and decision; the code where there is no result."""
    if run.result:
        return f"{run.result.brain_age.estimate:.1f}", run.result.assessment.decision
    problem = run.refusal or run.failure
    return "", problem.code if problem else (run.stage or "")


def show(run: Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP)], as_json: AsJson = False) -> None:
    """Show one run: the answer, the reasons, how it was made."""
    client = connect()
    found = client.run(client.whole_run_id(run))
    if as_json:
        print_json(found)
        return
    Console().print(result_table(f"run {found.run_id} of study {found.study_id}", found))


def requeue(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help=f"That failed or were cancelled. {RUN_HELP}")],
    as_json: AsJson = False,
) -> None:
    """Do failed runs again. Each gets a new run in its place; the old one stays, linked."""
    client = connect()
    again = [client.requeue(client.whole_run_id(run)) for run in runs]
    if as_json:
        print_json(again)
        return
    for run, new in zip(runs, again, strict=True):
        typer.echo(f"{run}: run {new.run_id} in its place, {new.status.value}")


def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP)],
    picture: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the picture to this new PNG file; takes the clinical grant."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what adds years to a run's brain age, as the model believes. A worker makes it when first asked."""
    client = connect()
    run_id = client.whole_run_id(run)
    with Console(stderr=True).status("waiting for a worker's explanation"):
        explanation = client.explanation(run_id)
    if as_json:
        print_json(explanation)
    else:
        Console().print(explanation_table(explanation))
    if picture:
        if picture.exists():
            raise CommandError(f"{picture} is there already and is not replaced; name another file", EXIT_USAGE)
        write_whole(picture, [client.explanation_picture(run_id)])
        typer.echo(f"{picture}: 10 years younger, as it is, 10 years older", err=as_json)
