"""`med3d submit`, `runs` and `show`: the results API from the command line."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.connection import connect
from med3d_cli.errors import CommandError
from med3d_cli.studies.explanation_table import explanation_table
from med3d_cli.studies.following import follow
from med3d_cli.studies.options import SERIES_HELP
from med3d_cli.studies.result_table import result_table
from med3d_client.results import ResultsClient, StudyOptions, Submitted
from med3d_client.study_stream import open_study
from med3d_contract.results import Priority, RunStatus, RunView, Sex

EXIT_REFUSED = 3
EXIT_FAILED = 4


def submit(
    paths: Annotated[list[Path], typer.Argument(help="Each a study: a folder, an archive, a .dcm or a .nii[.gz].")],
    age: Annotated[float | None, typer.Option(min=0, max=120, help="At the scan, in years.")] = None,
    sex: Annotated[Sex | None, typer.Option(help="F or M.")] = None,
    subject: Annotated[str | None, typer.Option(help="Your pseudonym for the subject.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Who goes first.")] = None,
    bundle: Annotated[str | None, typer.Option(help="A model other than the default one.")] = None,
    series: Annotated[str | None, typer.Option(help=SERIES_HELP)] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until there is an answer, and show it.")] = False,
) -> None:
    """Send studies to the service. A folder with its sub-folders is one study."""
    options = StudyOptions(age, sex, subject, priority, bundle, series)
    client = connect()
    submitted = [_submit_one(client, path, options) for path in paths]
    if wait:
        raise typer.Exit(exit_code([_wait(client, one) for one in submitted]))


def _submit_one(client: ResultsClient, path: Path, options: StudyOptions) -> Submitted:
    with open_study(path) as upload:
        submitted = client.submit(upload, options)
    known = " (known already)" if submitted.known else ""
    typer.echo(f"{path}: run {submitted.run_id}, study {submitted.study_id}, {submitted.status.value}{known}")
    return submitted


def _wait(client: ResultsClient, submitted: Submitted) -> RunView:
    run = follow(client, submitted.run_id, Console(stderr=True))
    Console().print(result_table(f"run {run.run_id}", run))
    return run


def exit_code(runs: list[RunView]) -> int:
    """0 where every run has a result, 4 where one failed, else 3 where one was refused or cancelled."""
    statuses = {run.status for run in runs}
    if RunStatus.FAILED in statuses:
        return EXIT_FAILED
    return EXIT_REFUSED if statuses - {RunStatus.COMPLETED} else 0


def runs(
    status: Annotated[RunStatus | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20,
) -> None:
    """List runs."""
    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True, min_width=36)  # whole: `show` asks for it
    for name in ("status", "priority", "created", "brain age", "decision"):
        table.add_column(name, overflow="fold")
    for run in connect().runs(status=status, limit=limit):
        created = run.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(run.run_id, run.status.value, run.priority.value, created, *_answer_cells(run))
    Console().print(table)


def _answer_cells(run: RunView) -> tuple[str, str]:
    """Brain age and decision; the code where there is no result."""
    if run.result:
        return f"{run.result.brain_age.estimate:.1f}", run.result.assessment.decision
    problem = run.refusal or run.failure
    return "", problem.code if problem else (run.stage or "")


def show(run_id: Annotated[str, typer.Argument(metavar="RUN", help="As `submit` and `runs` name it.")]) -> None:
    """Show one run: the answer, the reasons, how it was made."""
    run = connect().run(run_id)
    Console().print(result_table(f"run {run.run_id} of study {run.study_id}", run))


def requeue(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN...", help="That failed or were cancelled.")],
) -> None:
    """Do failed runs again. Each gets a new run in its place; the old one stays, linked."""
    client = connect()
    for run_id in run_ids:
        again = client.requeue(run_id)
        typer.echo(f"{run_id}: run {again.run_id} in its place, {again.status.value}")


def explain(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="As `submit` and `runs` name it.")],
    picture: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the picture to this new PNG file; takes the clinical grant."),
    ] = None,
) -> None:
    """Show what adds years to a run's brain age, as the model believes. A worker makes it when first asked."""
    client = connect()
    Console().print(explanation_table(client.explanation(run_id)))
    if picture:
        content = client.explanation_picture(run_id)
        try:
            with picture.open("xb") as file:
                file.write(content)
        except OSError as error:
            raise CommandError(f"{picture} cannot be written: {error.strerror}") from error
        typer.echo(f"{picture}: 10 years younger, as it is, 10 years older")
