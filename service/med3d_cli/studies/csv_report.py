"""Answers as rows of a table: one per input, estimates and reasons in columns of their own."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from med3d_cli.errors import CommandError
from med3d_contract.results import Estimate, Interval, Result
from med3d_contract.spreadsheets import safe_text

if TYPE_CHECKING:
    from med3d_worker.analysis import AnalysedInput

Cell = str | float | None
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
    "input_digest",
    "bundle_digest",
    "seconds",
)


@contextmanager
def csv_report(path: Path) -> Iterator[Callable[["AnalysedInput"], None]]:
    """A function that writes one row, on disk at once: an interrupted batch keeps what it has.

    Raises CommandError where the file cannot be written, or holds something already.
    """
    if path.is_file() and path.stat().st_size > 0:
        raise CommandError(f"{path} is there already and is not replaced; name another file, or take it away", 2)
    try:
        file = path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error
    with file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()

        def write(report: "AnalysedInput") -> None:
            writer.writerow({name: _safe(cell) for name, cell in csv_row(report).items()})
            file.flush()

        yield write


def _safe(cell: Cell) -> Cell:
    return safe_text(cell) if isinstance(cell, str) else cell


def csv_row(report: "AnalysedInput") -> dict[str, Cell]:
    """Column name to value; what does not apply is empty."""
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
        row["seconds"] = round(sum(report.provenance.timings_s.values()), 3)
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
