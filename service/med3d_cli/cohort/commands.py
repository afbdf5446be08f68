"""`med3d cohort`: studies that are worked through by night and compared in the morning."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from med3d_cli.cohort.cohort_import import Imported, import_scans
from med3d_cli.cohort.cohort_reports import diff, export, summary
from med3d_cli.cohort.cohort_runs import cancel, pause, resume, run, status
from med3d_cli.cohort.cohort_trajectory import trajectory
from med3d_cli.connection import connect_to_cohorts
from med3d_cli.errors import CommandError
from med3d_cli.screens import AsJson, answer, print_json, table_console
from med3d_client.cohorts import CohortsClient
from med3d_client.transport import ApiError
from med3d_contract.cohort_manifest import read_valid_scans
from med3d_contract.cohorts import CohortDraft, CohortView, MemberEntry, MemberFilter, NightSchedule
from med3d_contract.manifest_row import ManifestError
from med3d_contract.results import Sex
from med3d_pipeline.counting import counted

NIGHT = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)@(\S+)")
EXIT_WITH_PROBLEMS = 3
Cohort = Annotated[str, typer.Argument(metavar="COHORT", help="Name or id.")]
Night = Annotated[str | None, typer.Option(metavar="HH:MM-HH:MM@ZONE", help="As in 22:00-06:00@Europe/Berlin.")]
WantedBundle = Annotated[str | None, typer.Option(help="A model other than the one that is the default each night.")]


def cohort_commands() -> typer.Typer:
    """`med3d cohort` and all that it can do."""
    group = typer.Typer(help="Cohorts: many studies, worked through by night.", no_args_is_help=True)
    commands: tuple[Callable[..., None], ...] = (
        create,
        add,
        run,
        status,
        pause,
        resume,
        cancel,
        summary,
        diff,
        export,
        trajectory,
    )
    for command in commands:
        group.command()(command)
    group.command("import")(import_cohort)
    group.command("list")(list_cohorts)
    return group


def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dot, dash, underscore.")],
    bundle: WantedBundle = None,
    nightly: Night = None,
    all_studies: Annotated[bool, typer.Option("--all", help="Every study of this site, the coming ones too.")] = False,
    sex: Annotated[Sex | None, typer.Option(help="Only of this sex.")] = None,
    age_min: Annotated[float | None, typer.Option(min=0, max=120, help="Only from this age on, years.")] = None,
    age_max: Annotated[float | None, typer.Option(min=0, max=120, help="Only up to this age, years.")] = None,
    scan_site: Annotated[list[str] | None, typer.Option(help="Only of this site, as a manifest names it.")] = None,
    received_after: Annotated[datetime | None, typer.Option(help="Only received later.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a cohort. With a filter studies join by themselves, now and before each night."""
    conditions = {
        "sex": sex,
        "age_min": age_min,
        "age_max": age_max,
        "scan_sites": tuple(scan_site) if scan_site else None,
        "received_after": received_after and received_after.astimezone(),
    }
    filtered = all_studies or any(value is not None for value in conditions.values())
    try:
        draft = CohortDraft(
            name=name,
            bundle=bundle,
            schedule=night_of(nightly),
            member_filter=MemberFilter.model_validate(conditions) if filtered else None,
        )
    except ValidationError as error:
        raise CommandError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from error
    made = connect_to_cohorts().create(draft)
    answer(f"cohort {made.name} ({made.cohort_id}): {made.members} studies{_when(made)}", made, as_json=as_json)


def night_of(text: str | None) -> NightSchedule | None:
    """Read ``22:00-06:00@Europe/Berlin``. Raises CommandError."""
    if text is None:
        return None
    said = NIGHT.fullmatch(text)
    if said is None:
        raise CommandError(f"{text!r} is no night: write it as 22:00-06:00@Europe/Berlin")
    try:
        start, end = (time.fromisoformat(clock) for clock in said.groups()[:2])
        return NightSchedule(start=start, end=end, time_zone=said[3])
    except ValueError as error:
        reason = str(error.errors()[0]["ctx"]["error"]) if isinstance(error, ValidationError) else str(error)
        raise CommandError(f"{text!r} is no night: {reason}") from error


def add(
    cohort: Cohort,
    studies: Annotated[list[str], typer.Argument(metavar="STUDY...", help="Ids, as `submit` and `show` name them.")],
    as_json: AsJson = False,
) -> None:
    """Let studies join that are in the store."""
    client = connect_to_cohorts()
    missing: list[str] = []
    joined = 0
    for first in range(0, len(studies), 100):
        some = studies[first : first + 100]
        taken = client.add(cohort, [MemberEntry(study_id=study) for study in some])
        joined += taken.added
        missing += [some[place] for place in taken.missing]
    known = len(studies) - joined - len(missing)
    said = {"joined": joined, "members_already": known, "missing": missing}
    answer(f"{joined} joined, {known} were members already", said, as_json=as_json)
    if missing:
        raise CommandError(f"no study has the id {', '.join(missing)}")


def list_cohorts(as_json: AsJson = False) -> None:
    """List cohorts."""
    cohorts = connect_to_cohorts().all()
    if as_json:
        print_json(cohorts)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("cohort", "studies", "subjects", "bundle", "next night"):
        table.add_column(name, overflow="fold")
    for found in cohorts:
        night = found.next_night.astimezone().strftime("%Y-%m-%d %H:%M") if found.next_night else ""
        table.add_row(found.name, str(found.members), str(found.subjects), found.bundle or "(default)", night)
    table_console().print(table)


def import_cohort(
    source: Annotated[Path, typer.Argument(metavar="DIR_OR_CSV", help="BIDS dataset, or manifest with t1w files.")],
    name: Annotated[
        str | None, typer.Option(help="The cohort; made where it is new. Default: the folder's name.")
    ] = None,
    nightly: Night = None,
    as_json: AsJson = False,
) -> None:
    """Bring a cohort's scans into the store, with ages, sexes, sites and measured SDMT. Goes on where it stopped."""
    try:
        found = read_valid_scans(source)
    except ManifestError as error:
        raise CommandError(f"{'; '.join(error.problems)}; nothing was sent") from error
    _say_problems(found.problems)
    many = counted(len(found.problems), "fault", "faults")
    if not found.scans:
        raise CommandError(f"the manifest has {many}, above, and no good row; nothing was sent")
    if found.problems:
        good = counted(len(found.scans), "good row is", "good rows are")
        typer.echo(f"the manifest has {many}, above; its {good} sent", err=True)
    scans = found.scans
    client = connect_to_cohorts()
    cohort = _found_or_made(client, name or _name_of(source), night_of(nightly))
    with _progress() as progress:
        task = progress.add_task("importing", total=len(scans))
        done = import_scans(client, cohort.name, scans, lambda rows: progress.advance(task, rows))
    _report(client.read(cohort.name), done, as_json=as_json)
    if found.problems:
        raise typer.Exit(EXIT_WITH_PROBLEMS)


def _name_of(source: Path) -> str:
    folder = source.resolve() if source.is_dir() else source.resolve().parent
    return re.sub(r"[^a-z0-9._-]+", "-", folder.name.lower()).strip("-._") or "cohort"


def _found_or_made(client: CohortsClient, name: str, schedule: NightSchedule | None) -> CohortView:
    try:
        found = client.read(name)
    except ApiError as error:
        if error.code != "unknown_cohort":
            raise
        try:
            return client.create(CohortDraft(name=name, schedule=schedule))
        except ValidationError as invalid:
            raise CommandError(f"{name!r} cannot name a cohort; choose one with --name") from invalid
    return found if schedule is None else client.change(name, {"schedule": schedule.model_dump(mode="json")})


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _report(cohort: CohortView, done: Imported, *, as_json: bool) -> None:
    answer(
        f"cohort {cohort.name}: {done.sent} sent, {done.known} in the store already; "
        f"{cohort.members} studies of {cohort.subjects} subjects{_when(cohort)}",
        {"cohort": cohort, "sent": done.sent, "known": done.known, "problems": done.problems},
        as_json=as_json,
    )
    if done.problems:
        _say_problems(done.problems)
        raise typer.Exit(EXIT_WITH_PROBLEMS)


def _say_problems(problems: Sequence[str]) -> None:
    for problem in problems:
        typer.echo(problem, err=True)


def _when(cohort: CohortView) -> str:
    if cohort.next_night is None:
        return ""
    return f", next night {cohort.next_night.astimezone():%Y-%m-%d %H:%M %Z}"
