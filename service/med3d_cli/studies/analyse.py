"""`med3d analyse`: inputs to answers on this machine, without a server."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from med3d_cli.ending import ends_in_order
from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.studies.analysis_batch import Answered, Question, Wanted, answer_all
from med3d_cli.studies.inputs import IMAGES, Inputs, list_inputs, several_visits
from med3d_cli.studies.opened_model import Model
from med3d_cli.studies.options import SERIES_HELP
from med3d_contract.ages import AgeReading
from med3d_contract.results import RunStatus, Sex
from med3d_contract.spreadsheets import printable
from med3d_pipeline.counting import counted

if TYPE_CHECKING:
    from med3d_cli.studies.csv_report import Write
    from med3d_contract.results import Result
    from med3d_worker.analysis import AnalysedInput, Analyser

SEVERAL = frozenset({"several_images", "several_patients"})
"""Refusals of what holds more than one head."""
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_FAILED = 4


def analyse(
    paths: Annotated[
        list[Path],
        typer.Argument(
            exists=True,
            help="Each a study: a folder, an archive (.zip, .tar[.gz]), a DICOM or NIfTI file; "
            "of a BIDS dataset each _T1w image is one.",
        ),
    ],
    age: Annotated[
        float | None, typer.Option(min=0, max=120, help="At the scan, in years. Default: from the headers.")
    ] = None,
    ages: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A CSV with a row for each input: its path or name, its age."),
    ] = None,
    sex: Annotated[Sex | None, typer.Option(help="F or M. Default: from the headers.")] = None,
    site: Annotated[
        str | None,
        typer.Option(help="Where all were scanned, as the model's card or a calibration (MED3D_CALIBRATION) names it."),
    ] = None,
    series: Annotated[str | None, typer.Option(help=f"{SERIES_HELP} A NIfTI file by its name, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print an array with one object per input.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write one row per input to this new file.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Write a page for each input, and one for all, to this new folder."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Inputs at once; each takes about 2 GB.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --csv and --html of an earlier call: what they have stays.")
    ] = False,
    bundle: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Folder of the model.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Site calibration (med3d calibrate); all inputs are of its site."
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Write brain mask, affine and normalised volume to numbered folders in this new one."
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Write to numbered folders in this new one how the model's decoder would have the head older and "
            "younger.",
        ),
    ] = None,
) -> None:
    """Analyse studies here and now, without a server. A folder with its sub-folders is one study.

    Goes on after a refused input. Leaves with 0 where every input has a result, 3 where one was refused, 4 where one
    failed.
    """
    _require_one_meaning(as_json=as_json, csv=csv, calibrated=calibration is not None, site=site)
    if resume and not (csv or html):
        raise CommandError("--resume goes on with files of an earlier call: name them by --csv or --html", EXIT_USAGE)
    if age is not None and ages:
        raise CommandError("choose one of --age, for all inputs, and --ages", EXIT_USAGE)
    for folder in filter(None, (keep, explain, None if resume else html)):
        _require_new(folder)
    for folder in filter(None, (keep, explain, html)):
        _require_writable(folder)
    stderr = Console(stderr=True)
    inputs = list_inputs(paths)
    _tell_datasets(inputs, stderr)
    if age is not None:
        _require_one_visit_each(inputs.paths)
    questions = _questions(inputs.paths, _Told(age, ages, sex, site, series), stderr)
    model = Model(bundle, calibration, slices=_slices() if html else 0)
    jobs = min(jobs, len(questions))
    analyser = model.open(jobs)
    if explain and analyser.explainer is None:
        raise CommandError("this model's bundle has no decoder, so it cannot explain: leave --explain out", EXIT_USAGE)
    batch = _Batch(analyser, model, questions, Wanted(keep, explain, html), jobs)
    with ends_in_order():
        statuses, reports = batch.run(csv, resume=resume, stderr=stderr)
    _show(reports, as_json=as_json, tables=not (csv or html))
    if site is not None and (said := site_without_effect(site, analyser.sites, reports)):
        stderr.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
    counts = Counter(statuses)
    kept = len(statuses) - len(reports)
    tell_of_several(reports, stderr)
    stderr.print(_summary(counts, kept), highlight=False)
    raise typer.Exit(exit_code(counts))


def _slices() -> int:
    with extra("worker"):
        from med3d_cli.reports.mosaics import SLICES
    return SLICES


def _require_one_meaning(*, as_json: bool, csv: Path | None, calibrated: bool, site: str | None) -> None:
    """Raise CommandError where options contradict one another."""
    if as_json and csv:
        raise CommandError("choose one of --json and --csv", EXIT_USAGE)
    if calibrated and site:
        raise CommandError("choose one of --calibration and --site: a calibration is for its own site", EXIT_USAGE)


def _require_new(folder: Path) -> None:
    """Raise CommandError where something would be written over."""
    if folder.is_dir() and any(folder.iterdir()):
        raise CommandError(f"{folder} holds files already, and none is replaced; name a new folder", EXIT_USAGE)


def _require_writable(folder: Path) -> None:
    """Make the folder. Raises CommandError where nothing can be written into it: to be known before hours of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(f"{folder} cannot be written to: {error.strerror}") from error


def _require_one_visit_each(paths: Sequence[Path]) -> None:
    """Raise CommandError where one age would be that of several visits of one person."""
    for person, sessions in several_visits(paths).items():
        visits = ", ".join(sessions)
        raise CommandError(
            f"--age would be the age at each visit of {person} ({visits}): state each visit's own by --ages, or have "
            "`med3d bids` read the ages of a BIDS dataset from its tables",
            EXIT_USAGE,
        )


@dataclass(frozen=True)
class _Told:
    """What the command line says of all inputs."""

    age: float | None
    ages: Path | None
    sex: Sex | None
    site: str | None
    series: str | None


def _questions(paths: Sequence[Path], told: _Told, stderr: Console) -> list[Question]:
    """Count off the inputs, each with its age; tell of which there is none, and of rows that fit no input."""
    known: Mapping[Path, AgeReading] = {}
    if told.ages:
        from med3d_cli.studies.age_table import read_ages

        table = read_ages(told.ages, paths)
        known = table.ages
        if without := sum(path not in known for path in paths):
            stderr.print(
                f"{told.ages} has no row for {without} of {counted(len(paths), 'input', 'inputs')}",
                style="yellow",
                soft_wrap=True,
            )
        if table.unused_rows:
            some = ", ".join(table.unused_rows[:3]) + (" ..." if len(table.unused_rows) > 3 else "")
            said = f"{told.ages}: {counted(len(table.unused_rows), 'row fits', 'rows fit')} no input ({some})"
            stderr.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return [
        Question(number, path, known.get(path), told.age, told.site, told.series, told.sex)
        for number, path in enumerate(paths, start=1)
    ]


def _tell_datasets(inputs: Inputs, stderr: Console) -> None:
    for dataset in inputs.datasets:
        said = f"{dataset} is a BIDS dataset: each of its T1-weighted scans is an input. Its tables and sidecars are "
        stderr.print(f"{said}read by `med3d bids`.", markup=False, highlight=False, soft_wrap=True)
    if inputs.passed_over:
        others = counted(inputs.passed_over, "image that is not named _T1w", "images that are not named _T1w")
        stderr.print(f"passed over: {others}", highlight=False)


@dataclass(frozen=True, eq=False)
class _Batch:
    """The inputs of one call and what answers them."""

    analyser: "Analyser"
    model: Model
    questions: Sequence[Question]
    wanted: Wanted
    jobs: int

    def run(self, csv: Path | None, *, resume: bool, stderr: Console) -> tuple[list[RunStatus], list["AnalysedInput"]]:
        """Answer all; the status of each, also of those that stand already, and the new answers in their order."""
        site = self.analyser.sites[0] if self.model.calibration else None
        asked = [replace(one, site=one.site or site) for one in self.questions]
        if csv or self.wanted.pages:
            asked = [replace(one, basis=one.on_basis_of(self.analyser)) for one in asked]
        write: Write | None = None
        standing: Mapping[str, str] = self._pages_that_stand() if resume else {}
        with ExitStack() as stack:
            if csv:
                from med3d_cli.studies.csv_report import csv_report

                named_bases = {printable(one.path): one.basis for one in asked}
                named = f"{self.analyser.model.name} {self.analyser.model.version}"
                again = {one.basis for one in asked} - standing.keys() if self.wanted.pages else set()
                write, standing = stack.enter_context(
                    csv_report(csv, named, resume=resume, asked=named_bases, again=again)
                )
            kept = [RunStatus(standing[one.basis]) for one in asked if one.basis in standing]
            left = [one for one in asked if one.basis not in standing]
            answered = self._follow(left, write, stderr)
        reports = [one.report for one in sorted(answered, key=lambda one: one.question.number)]
        if self.wanted.pages:
            from med3d_cli.studies.html_report import write_index

            write_index(self.wanted.pages, asked, {one.question.basis: one.report for one in answered})
        return [*kept, *(report.status for report in reports)], reports

    def _pages_that_stand(self) -> dict[str, str]:
        """Return the status of each answer that has its page, by basis."""
        if self.wanted.pages is None:
            return {}
        from med3d_cli.studies.html_report import kept_answers

        return {basis: kept.report.status.value for basis, kept in kept_answers(self.wanted.pages).items()}

    def _follow(self, questions: Sequence[Question], write: "Write | None", stderr: Console) -> list[Answered]:
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        answered = []
        with Progress(*columns, console=stderr, transient=True) as progress:
            bar = progress.add_task("starting" if self.jobs == 1 else "analysing", total=len(questions))
            stages = lambda stage: progress.update(bar, description=stage)  # noqa: E731
            for one in answer_all(self.analyser, self.model, questions, self.wanted, self.jobs, stages):
                answered.append(one)
                if write:
                    write(one.report, one.question.basis)
                progress.advance(bar)
        return answered


def tell_of_several(reports: Sequence["AnalysedInput"], stderr: Console) -> None:
    """Say how the images of a folder become inputs of their own, where one was refused for holding several."""
    for report in reports:
        if report.refusal is None or report.refusal.code not in SEVERAL:
            continue
        ending = next((ending for ending in IMAGES if any(Path(report.input).glob(f"*{ending}"))), None)
        if ending is not None:
            said = f"{report.input}: a folder is one study. For an answer to each of its images name them one by one: "
            way_out = f"{said}med3d analyse {shlex.quote(report.input)}/*{ending}"
            stderr.print(way_out, style="yellow", markup=False, highlight=False, soft_wrap=True)
            return


def site_without_effect(site: str, calibrated: Sequence[str], reports: Sequence["AnalysedInput"]) -> str | None:
    """Say that neither the model nor a calibration knows ``site``; None where one does, or the answers say why not."""
    if not any(report.result and _ignores_site(report.result) for report in reports):
        return None
    if not calibrated:
        return "--site has changed nothing: this model corrects for no sites"
    from med3d_pipeline.calibration.scanner import folded

    if folded(site) in map(folded, calibrated):
        return None
    return f"no calibration is for the site that --site names, so none was applied; there are: {', '.join(calibrated)}"


def _ignores_site(result: "Result") -> bool:
    return not (result.assessment.site_correction or result.assessment.calibrated_for)


def _show(reports: Sequence["AnalysedInput"], *, as_json: bool, tables: bool) -> None:
    if as_json:
        typer.echo(json.dumps([report.model_dump(mode="json") for report in reports], indent=2, ensure_ascii=False))
        return
    if not tables:
        return
    from med3d_cli.studies.explanation_table import explanation_table
    from med3d_cli.studies.result_table import result_table

    console = Console()
    for report in reports:
        console.print(result_table(report.input, report))
        if report.explanation:
            console.print(explanation_table(report.explanation))


def _summary(counts: Counter[RunStatus], kept: int = 0) -> str:
    parts = [f"{counts[status]} {status.value}" for status in RunStatus if counts[status]]
    again = f" ({kept} of them as they were)" if kept else ""
    return f"{counts.total()} {'input' if counts.total() == 1 else 'inputs'}: {', '.join(parts)}{again}"


def exit_code(counts: Counter[RunStatus]) -> int:
    """Return 0 where all are completed, 4 where one failed, else 3."""
    if counts[RunStatus.FAILED]:
        return EXIT_FAILED
    return EXIT_REFUSED if counts[RunStatus.REFUSED] else 0
