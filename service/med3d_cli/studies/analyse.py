"""`med3d analyse`: inputs to answers on this machine, without a server."""

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime
from med3d_cli.studies.options import SERIES_HELP
from med3d_contract.results import RunStatus

if TYPE_CHECKING:
    from med3d_contract.results import Result
    from med3d_worker.analysis import AnalysedInput, Analyser, Analysis, Stated

EXIT_REFUSED = 3
EXIT_FAILED = 4


def analyse(
    paths: Annotated[
        list[Path],
        typer.Argument(
            exists=True, help="Each a study: a folder, an archive (.zip, .tar[.gz]), a DICOM or NIfTI file."
        ),
    ],
    age: Annotated[
        float | None, typer.Option(min=0, max=120, help="At the scan, in years. Default: from the headers.")
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(help="Where all were scanned, as the model's card spells it; for models that correct for sites."),
    ] = None,
    series: Annotated[str | None, typer.Option(help=f"{SERIES_HELP} A NIfTI file by its name, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print an array with one object per input.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write one row per input to this new file.")] = None,
    bundle: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Folder of the model.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Site calibration (med3d calibrate); all inputs are of its site."
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Write brain mask, affine and normalised volume to numbered folders here."),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Write to numbered folders here how the model's decoder would have the head older and younger.",
        ),
    ] = None,
) -> None:
    """Analyse studies here and now, without a server. A folder with its sub-folders is one study.

    Goes on after a refused input. Leaves with 0 where every input has a result, 3 where one was refused, 4 where one
    failed.
    """
    if as_json and csv:
        raise CommandError("choose one of --json and --csv", exit_code=2)
    if calibration and site:
        raise CommandError("choose one of --calibration and --site: a calibration is for its own site", exit_code=2)
    analyser = open_analyser(bundle, calibration)
    if explain and analyser.explainer is None:
        raise CommandError("this model's bundle has no decoder, so it cannot explain: leave --explain out", exit_code=2)
    calibrated = analyser.sites[0] if calibration else None
    from med3d_worker.analysis import Stated

    stderr = Console(stderr=True)
    with ExitStack() as stack:
        write = stack.enter_context(_csv_writer(csv)) if csv else None
        wanted = _Wanted(keep, explain, write)
        reports = _analyse_all(analyser, paths, Stated(age, site or calibrated, series), wanted, stderr)
    if as_json:
        typer.echo(json.dumps([report.model_dump(mode="json") for report in reports], indent=2, ensure_ascii=False))
    elif csv is None:
        _print_tables(reports)
    if site is not None and any(report.result and _ignores_site(report.result) for report in reports):
        stderr.print("--site has changed nothing: this model corrects for no sites", style="yellow")
    counts = Counter(report.status for report in reports)
    stderr.print(_summary(counts), highlight=False)
    raise typer.Exit(exit_code(counts))


def open_analyser(
    bundle: Path | None, calibration: Path | None = None, *, pictures: bool = False, threads: int | None = None
) -> "Analyser":
    """The shipped model or the one in ``bundle``, verified, with ``calibration``. Raises CommandError.

    pictures: each analysis comes with those of its head. threads: in place of what is set.
    """
    with extra("worker"):
        require_onnx_runtime()
        from med3d_pipeline.errors import PipelineError
        from med3d_worker.analysis import Analyser
        from med3d_worker.loaded_model import load_model
        from med3d_worker.logs import configure_logs
        from med3d_worker.pictures import PicturesInHand
        from med3d_worker.settings import BundleSettings
    configure_logs("WARNING")
    given = {"bundle": bundle, "calibration": calibration, "threads": threads}
    stated: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = BundleSettings(**stated)
    try:
        model = load_model(settings, prove=False)
    except (PipelineError, ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    allowed = settings.allow_demonstration_heads
    return Analyser(model, allow_demonstration_heads=allowed, pictures=PicturesInHand() if pictures else None)


@dataclass(frozen=True)
class _Wanted:
    """What goes out beside the answers: folders for images and explanations, and what writes a row of the table."""

    keep: Path | None
    explain: Path | None
    write: Any


def _analyse_all(
    analyser: "Analyser", paths: list[Path], stated: "Stated", wanted: _Wanted, stderr: Console
) -> list["AnalysedInput"]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    reports = []
    with Progress(*columns, console=stderr, transient=True) as progress:
        bar = progress.add_task("starting", total=len(paths))
        for number, path in enumerate(paths, start=1):
            analysis = analyser(path, stated, on_stage=lambda stage: progress.update(bar, description=stage))
            report = analysis.report
            if wanted.explain:
                progress.update(bar, description="explaining")
                report = _explained(analyser, analysis, wanted.explain / f"{number:04d}")
            reports.append(report)
            if wanted.write:
                wanted.write(report)
            if wanted.keep and analysis.prepared:
                from med3d_cli.studies.kept_images import keep_images

                keep_images(analysis.prepared, wanted.keep / f"{number:04d}")
            progress.advance(bar)
    return reports


def _explained(analyser: "Analyser", analysis: "Analysis", folder: Path) -> "AnalysedInput":
    """The report with its explanation, whose files are written; as it is where there is no number to explain."""
    from med3d_cli.studies.kept_explanation import keep_difference, keep_explanation
    from med3d_worker.head_explanation import stored_explanation

    report, prepared = analysis.report, analysis.prepared
    if report.result is None or prepared is None or prepared.images is None or analyser.explainer is None:
        return report
    known = report.result.brain_age.chronological_age
    found = analyser.explainer.explain(prepared.record.tensor, None if known is None else known.years)
    stored = stored_explanation(found)
    keep_explanation(stored, folder)
    keep_difference(found.difference, prepared.images, folder)
    return report.model_copy(update={"explanation": stored.explanation})


def _ignores_site(result: "Result") -> bool:
    return not (result.assessment.site_correction or result.assessment.calibrated_for)


def _csv_writer(path: Path) -> Any:
    from med3d_cli.studies.csv_report import csv_report

    return csv_report(path)


def _print_tables(reports: list["AnalysedInput"]) -> None:
    from med3d_cli.studies.explanation_table import explanation_table
    from med3d_cli.studies.result_table import result_table

    console = Console()
    for report in reports:
        console.print(result_table(report.input, report))
        if report.explanation:
            console.print(explanation_table(report.explanation))


def _summary(counts: Counter[RunStatus]) -> str:
    parts = [f"{counts[status]} {status.value}" for status in RunStatus if counts[status]]
    return f"{counts.total()} {'input' if counts.total() == 1 else 'inputs'}: {', '.join(parts)}"


def exit_code(counts: Counter[RunStatus]) -> int:
    """0 where all are completed, 4 where one failed, else 3."""
    if counts[RunStatus.FAILED]:
        return EXIT_FAILED
    return EXIT_REFUSED if counts[RunStatus.REFUSED] else 0
