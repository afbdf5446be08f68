"""`med3d calibrate`: a site's own healthy heads to a signed calibration beside the model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from med3d_cli.calibration.calibration_groups import NOBODY_TOLD
from med3d_cli.calibration.calibration_list import HeadList, LeftOutHead, read_list, unusable_age
from med3d_cli.calibration.calibration_out import check_out, write_all
from med3d_cli.calibration.calibration_site import check_site, one_spelling
from med3d_cli.ending import ends_in_order
from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime
from med3d_contract.bids import PARTICIPANTS_TSV
from med3d_contract.cohort_manifest import MANIFEST_CSV
from med3d_contract.scanner_facts import NOTHING_SAID, ScannerFacts, first_told, sidecar_facts

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from med3d_pipeline.calibration.fitting import CalibrationHead, FittedSite
    from med3d_pipeline.calibration.outlook import Outlook
    from med3d_worker.model.loaded_model import LoadedModel

EXIT_REFUSED = 3


def calibrate(
    heads: Annotated[
        Path,
        typer.Argument(
            exists=True,
            metavar="FOLDER_OR_CSV",
            help="Healthy heads of one scanner: a BIDS folder with participants.tsv, or a CSV with path and age.",
        ),
    ],
    site: Annotated[str, typer.Option(help="Your label for the scanner; shown in answers, so it names nobody.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="The calibration; its page is beside it, ending in .html.")],
    manufacturer: Annotated[str | None, typer.Option(help="Of heads that do not say, as DICOM has it.")] = None,
    model: Annotated[str | None, typer.Option(help="The scanner's, likewise (ManufacturerModelName).")] = None,
    field_strength: Annotated[float | None, typer.Option(min=0.01, max=20, help="Likewise, in tesla.")] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Private key (PEM) that signs; `med3d bundle keygen` makes one."
        ),
    ] = None,
    healthy: Annotated[
        list[str] | None,
        typer.Option(help="A group or diagnosis that means healthy; all others are left out. May be given again."),
    ] = None,
    valid_days: Annotated[int, typer.Option(min=1, max=1830, help="Days until it expires.")] = 365,
    bundle: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Folder of the model.")] = None,
) -> None:
    """Calibrate the model for a scanner, with 20 or more healthy heads of its own and their ages.

    Lists heads that cannot be used with their rows. Exits with status 3 where the others do not allow it.
    """
    console = Console(stderr=True)
    site = one_spelling(site)
    check_out(out, _files_read(heads, key))
    listed = read_list(heads, healthy or ())
    _check(listed, site, console)
    scanner = ScannerFacts(manufacturer, model, field_strength)
    order = CalibrationOrder(site, out, _read_key(key), valid_days, scanner)
    make_calibration(_load(bundle), listed, order, console)


@dataclass(frozen=True)
class CalibrationOrder:
    """What is to be made: for which site, where, signed by whom (None: nobody), for how long.

    scanner: of heads that tell none.
    """

    site: str
    out: Path
    key: "Ed25519PrivateKey | None"
    valid_days: int
    scanner: ScannerFacts = NOTHING_SAID


def make_calibration(model: "LoadedModel", listed: HeadList, order: CalibrationOrder, console: Console) -> None:
    """Look at the heads, fit, and write the calibration and its page. Raises CommandError."""
    with ends_in_order():
        usable, left_out = _look_at(model, listed, order.scanner, console)
    _tell_left_out([one for one in left_out if one not in listed.left_out], console)
    with _refused_in_words():
        fitted = _fit(model, usable, order, len(left_out))
    _write(order, fitted, model.predictor.limits.interval_level, left_out, console)
    if order.key is None:
        console.print("NOT SIGNED: workers load it only where untrusted calibrations are allowed", style="yellow")


def _tell_left_out(left_out: "Sequence[LeftOutHead]", console: Console) -> None:
    for one in left_out:
        console.print(f"left out: row {one.row}: {one.code}: {one.reason}", markup=False, highlight=False)


def _files_read(heads: Path, key: Path | None) -> list[Path]:
    lists = [heads / PARTICIPANTS_TSV, heads / MANIFEST_CSV] if heads.is_dir() else [heads]
    return lists if key is None else [*lists, key]


def _load(bundle: Path | None) -> "LoadedModel":
    with extra("worker"):
        require_onnx_runtime()
        from med3d_pipeline.errors import PipelineError
        from med3d_worker.model.loaded_model import load_model
        from med3d_worker.process.logs import configure_logs
        from med3d_worker.settings import BundleSettings
    configure_logs("WARNING")
    settings = BundleSettings(calibration=None)  # it is made of the model's own estimates
    try:
        return load_model(settings if bundle is None else settings.model_copy(update={"bundle": bundle}), prove=False)
    except (PipelineError, ValueError, OSError) as error:
        raise CommandError(str(error)) from error


def _read_key(key: Path | None) -> "Ed25519PrivateKey | None":
    from med3d_pipeline.bundle.bundle_signature import read_signing_key
    from med3d_pipeline.errors import BundleError

    try:
        return None if key is None else read_signing_key(key)
    except BundleError as error:
        raise CommandError(str(error)) from error


@contextmanager
def _refused_in_words() -> Iterator[None]:
    from med3d_pipeline.calibration.refusals import CalibrationRefused

    try:
        yield
    except CalibrationRefused as refused:
        raise CommandError(str(refused), exit_code=EXIT_REFUSED) from refused


def _check(listed: HeadList, site: str, console: Console) -> None:
    """Refuse what is refused whatever the heads look like, before minutes go into looking; say first what was seen."""
    _tell_left_out(listed.left_out, console)
    if not listed.tells_health:
        console.print(NOBODY_TOLD, style="yellow", markup=False, highlight=False)
    with extra("worker"):
        from med3d_pipeline.calibration.fitting import check_number, refuse_several_scanners
        from med3d_pipeline.calibration.refusals import refuse_patients
    with _refused_in_words():
        check_site(site)
        refuse_patients(listed.patients, len(listed.heads))
        refuse_several_scanners(listed.several_scanners)
        check_number(len(listed.heads), len(listed.left_out))


def _look_at(
    model: "LoadedModel", listed: HeadList, scanner: ScannerFacts, console: Console
) -> tuple[list["CalibrationHead"], tuple[LeftOutHead, ...]]:
    from med3d_worker.calibration_heads import HeadReader, UnusableHead

    read, usable, left_out = HeadReader(model), [], list(listed.left_out)
    doubted: list[int] = []
    scans: set[bytes] = set()  # a copy of a file, or its archive, has another name and the same voxels
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=len(listed.heads))
        for head in listed.heads:
            try:
                found = read(head.path, head.age_years, lambda stage: progress.update(bar, description=stage))
            except UnusableHead as unusable:
                left_out.append(LeftOutHead(head.row, unusable.code, unusable.reason))
            else:
                told = first_told(found.acquisition, sidecar_facts(head.path), scanner)
                seen = found.sighting.latent.tobytes()
                outside = unusable_age(head.row, found.age_years)  # as the headers have it
                if outside is not None:
                    left_out.append(outside)
                elif seen in scans:
                    left_out.append(LeftOutHead(head.row, "same_person", "An earlier row is of this very scan."))
                else:
                    scans.add(seen)
                    usable.append(replace(found, acquisition=told))
                    doubted += [head.row] if found.age_doubted else []
            progress.advance(bar)
    if doubted:
        rows = f"{'row' if len(doubted) == 1 else 'rows'} {', '.join(map(str, doubted))}"
        console.print(
            f"the headers of {rows} tell another age than the list, whose age was taken: look whether it stands beside "
            "its own head",
            style="yellow", markup=False, highlight=False,
        )  # fmt: skip
    return usable, tuple(sorted(left_out, key=lambda one: one.row))


def _fit(
    model: "LoadedModel", usable: "Sequence[CalibrationHead]", order: CalibrationOrder, left_out: int
) -> "FittedSite":
    from med3d_pipeline.calibration.fitting import Bearings, fit_site
    from med3d_pipeline.calibration.site_calibration import BundleName

    reference = model.reference
    name = BundleName(name=reference.name, version=reference.version, digest=reference.digest)
    bearings = Bearings(name, model.predictor.space, model.predictor.limits)
    today = datetime.now(UTC).date()
    return fit_site(usable, order.site, bearings, today, left_out=left_out, valid_days=order.valid_days)


def _write(
    order: CalibrationOrder, fitted: "FittedSite", level: float, left_out: "Sequence[LeftOutHead]", console: Console
) -> None:
    from med3d_cli.calibration.calibration_page import calibration_page, cautions
    from med3d_pipeline.calibration.outlook import outlook

    prospects = outlook(fitted, level)
    page = calibration_page(fitted, prospects, level, left_out)
    written = write_all(order.out, fitted.calibration, order.key, page.encode())
    Console().print(_table(fitted, prospects, level))
    for caution in cautions(fitted):
        console.print(caution, style="yellow", markup=False, highlight=False)
    for path in written:
        typer.echo(f"{path}")


def _table(fitted: "FittedSite", prospects: "Sequence[Outlook]", level: float) -> Table:
    made, figures = fitted.calibration, fitted.calibration.figures
    title = (
        f"{made.site}: {made.heads} heads, {made.scanner.in_words()}, model {made.bundle.name} {made.bundle.version}"
    )
    table = Table(
        "", "without", "calibrated", title=Text(title, "table.title"), title_justify="left", box=None, pad_edge=False
    )
    interval = f"interval ({100 * level:.0f} %), half width"
    rows = (
        ("mean error", figures.mean_error_before_years, figures.mean_error_after_years, "{:.1f} years"),
        ("bias", figures.bias_before_years, figures.bias_after_years, "{:+.1f} years"),
        (interval, figures.half_width_before_years, figures.half_width_after_years, "{:.1f} years"),
        ("far from training", figures.far_before, figures.far_after, "{:.0%}"),
    )
    for name, before, after, form in rows:
        table.add_row(name, form.format(before), form.format(after))
    table.add_row("slope", "1", f"{1 + made.age.slope:.2f}" if made.with_slope else "1 (ages too narrow for one)")
    for one in prospects:
        words = f"mean error {one.mean_error_years:.1f}, half width {one.half_width_years:.1f} years"
        table.add_row(f"expected with {one.heads} heads", "", words)
    return table
