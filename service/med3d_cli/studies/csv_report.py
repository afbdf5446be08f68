"""Answers as rows of a table: one per input, estimates and reasons in columns of their own."""

import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING

from med3d_cli.errors import CommandError
from med3d_cli.kept_file import placed
from med3d_contract.results import Estimate, Interval, Result, RunStatus
from med3d_contract.spreadsheets import safe_text

if TYPE_CHECKING:
    from med3d_worker.analysis import AnalysedInput

Cell = str | float | None
MEASURES = (
    "brain_volume_ml", "template_overlap", "registration_similarity", "affine_determinant", "affine_anisotropy",
    "template_outside_view", "brain_at_edge_cm2", "brain_at_removed_face_cm2", "signal_to_noise", "contrast_to_noise",
    "white_over_grey", "tissue_correlation", "gain_by_turning", "blank_slices_mm", "not_measured_share",
    "clipped_bright_share", "clipped_dark_share", "repeated_slices_mm", "ghost_share",
)  # fmt: skip
"""Measures of quality, each a column ``quality_...``."""
FINAL = frozenset({RunStatus.COMPLETED.value, RunStatus.REFUSED.value})
COLUMNS = (
    "input",
    "status",
    "code",
    "reason",
    "brain_age_years",
    "brain_age_lower",
    "brain_age_upper",
    "interval_level",
    "chronological_age_years",
    "chronological_age_source",
    "gap_years",
    "gap_lower",
    "gap_upper",
    "gap_corrected_years",
    "gap_corrected_lower",
    "gap_corrected_upper",
    "sdmt_points",
    "sdmt_evidence",
    "decision",
    "reason_codes",
    "reasons",
    "out_of_distribution_percentile",
    "site_correction",
    "calibrated_for",
    "series",
    "quality_failed",
    *(f"quality_{name}" for name in MEASURES),
    "input_digest",
    "bundle",
    "bundle_digest",
    "preprocessing_digest",
    "software",
    "seconds",
    "basis",
)


Write = Callable[["AnalysedInput", str], None]
"""Writes the row of an answer, and the digest of what it rests on."""


@contextmanager
def csv_report(
    path: Path,
    bundle: str = "",
    *,
    resume: bool = False,
    asked: Mapping[str, str] = MappingProxyType({}),
    again: Collection[str] = (),
) -> Iterator[tuple[Write, Mapping[str, str]]]:
    """Give a function that writes one row, on disk at once, and an earlier call's rows that stand: basis to status.

    bundle: name and version of the model. resume: go on with a file that an earlier call wrote; its failures are taken
    out, to be done again, and so are rows of the basis ``again``, and of inputs that are ``asked`` on another basis.
    Raises CommandError where the file cannot be written, or holds something and is not to be gone on with.
    """
    bases = {safe_text(name): basis for name, basis in asked.items()}
    rows_there = _rows_that_stand(path) if resume else []
    kept = [r for r in rows_there if r["basis"] not in again and bases.get(r["input"], r["basis"]) == r["basis"]]
    if not resume and path.is_file() and path.stat().st_size > 0:
        raise CommandError(
            f"{path} is there already and is not replaced; name another file, take it away, or go on with --resume", 2
        )
    try:
        file = _begun(path, kept) if kept else path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error
    rows = csv.DictWriter(file, COLUMNS)

    def put(cells: Mapping[str, Cell]) -> None:
        try:
            rows.writerow(cells)
            file.flush()
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error

    def write(report: "AnalysedInput", basis: str) -> None:
        cells = csv_row(report) | {"bundle": bundle, "basis": basis}
        put({name: _safe(cell) for name, cell in cells.items()})

    try:
        if not kept:
            put({name: name for name in COLUMNS})
        yield write, {row["basis"]: row["status"] for row in kept}
    finally:
        with suppress(OSError):  # what could not be written has been told
            file.close()


def _begun(path: Path, kept: list[dict[str, str]]) -> IO[str]:
    """Leave the rows that stand in the file, whole or not at all, and open it for more."""
    with placed(path) as aside, aside.open("w", newline="", encoding="utf-8") as begun:
        writer = csv.DictWriter(begun, COLUMNS)
        writer.writeheader()
        writer.writerows(kept)
    return path.open("a", newline="", encoding="utf-8")


def _rows_that_stand(path: Path) -> list[dict[str, str]]:
    """Read the rows with a number or a refusal. Raises CommandError where the file is none of ours."""
    if not path.is_file() or path.stat().st_size == 0:
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(
            f"{path} cannot be read as a table of `med3d analyse --csv`; name another file", 2
        ) from error
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise CommandError(f"{path} was not written by this release of `med3d analyse --csv`; name another file", 2)
    # A row that was cut off while it was written has no whole basis.
    return [row for row in rows if _is_digest(row["basis"]) and row["status"] in FINAL and None not in row]


def _is_digest(text: str | None) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text or "") is not None


def _safe(cell: Cell) -> Cell:
    return safe_text(cell) if isinstance(cell, str) else cell


def csv_row(report: "AnalysedInput") -> dict[str, Cell]:
    """Return column name to value; what does not apply is empty."""
    problem = report.refusal or report.failure
    row: dict[str, Cell] = {
        "input": report.input,
        "status": report.status.value,
        "code": problem.code if problem else None,
        "reason": problem.reason if problem else None,
        "series": report.series.chosen if report.series else None,
        "quality_failed": "; ".join(report.quality.failed) if report.quality else None,
    }
    if report.provenance:
        row["input_digest"] = report.provenance.input_digest
        row["bundle_digest"] = report.provenance.bundle_digest
        row["preprocessing_digest"] = report.provenance.preprocessing_digest
        row["software"] = "; ".join(f"{name} {version}" for name, version in report.provenance.software.items())
        row["seconds"] = round(sum(report.provenance.timings_s.values()), 3)
    if report.quality:
        row |= {f"quality_{name}": report.quality.measures.get(name) for name in MEASURES}
    return row | (_result_cells(report.result) if report.result else {})


def _result_cells(result: Result) -> dict[str, Cell]:
    age = result.brain_age
    return {
        "brain_age_years": age.estimate,
        **_limits("brain_age", age.interval),
        "interval_level": age.interval.level,
        "chronological_age_years": age.chronological_age.years if age.chronological_age else None,
        "chronological_age_source": age.chronological_age.source if age.chronological_age else None,
        **_gap("gap", age.gap),
        **_gap("gap_corrected", age.gap_corrected),
        "sdmt_points": result.sdmt.estimate if result.sdmt else None,
        "sdmt_evidence": result.sdmt.evidence if result.sdmt else None,
        "decision": result.assessment.decision,
        "reason_codes": "; ".join(reason.code for reason in result.assessment.reasons),
        "reasons": " ".join(reason.sentence for reason in result.assessment.reasons),
        "out_of_distribution_percentile": result.assessment.out_of_distribution.percentile,
        "site_correction": result.assessment.site_correction,
        "calibrated_for": result.assessment.calibrated_for,
    }


def _gap(name: str, gap: Estimate | None) -> dict[str, Cell]:
    return {} if gap is None else {f"{name}_years": gap.estimate, **_limits(name, gap.interval)}


def _limits(name: str, interval: Interval) -> dict[str, Cell]:
    return {f"{name}_lower": interval.lower, f"{name}_upper": interval.upper}
