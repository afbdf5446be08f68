"""A run as a table that a person can read."""

from collections.abc import Iterator
from typing import Protocol

from rich.table import Table
from rich.text import Text

from med3d_contract.results import (
    BrainAge,
    Estimate,
    Failure,
    Interval,
    Provenance,
    Quality,
    Refusal,
    Result,
    RunStatus,
    Sdmt,
    SeriesReport,
)

Row = tuple[str, str]
STYLES = {"completed": "green", "refused": "yellow", "failed": "red", "cancelled": "dim"}


class Reportable(Protocol):
    """What GET /runs/{id} and `med3d analyse` have in common."""

    @property
    def status(self) -> RunStatus:
        """Where the run stands."""

    @property
    def refusal(self) -> Refusal | None:
        """Why the study was refused; None where it was not."""

    @property
    def failure(self) -> Failure | None:
        """What broke; None where nothing did."""

    @property
    def series(self) -> SeriesReport | None:
        """Which series was taken, and why not the others."""

    @property
    def quality(self) -> Quality | None:
        """What was measured of the picture, and its limits."""

    @property
    def provenance(self) -> Provenance | None:
        """What made the answer."""

    @property
    def result(self) -> Result | None:
        """The answer; None where there is none."""


def result_table(title: str, run: Reportable) -> Table:
    """Return everything that is known of ``run``: the answer, why to believe it or not, how it was made."""
    table = Table(title=title, title_justify="left", show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("status", Text(run.status.value, style=STYLES.get(run.status.value, "")))
    for section in sections(run):
        table.add_section()
        for name, value in section:
            table.add_row(name, Text(value))
    return table


def sections(run: Reportable) -> Iterator[list[Row]]:
    """Return the rows in groups; empty groups are left out."""
    groups = (
        _refusal_rows(run.refusal, run.failure),
        _result_rows(run.result),
        _series_rows(run.series),
        _quality_rows(run.quality),
        _provenance_rows(run.provenance),
        _timing_rows(run.provenance),
    )
    return (group for group in groups if group)


def _refusal_rows(refusal: Refusal | None, failure: Failure | None) -> list[Row]:
    if refusal:
        return [("refused", refusal.code), ("reason", refusal.reason)]
    if failure:
        return [("failed", failure.code), ("reason", failure.reason)]
    return []


def _result_rows(result: Result | None) -> list[Row]:
    if result is None:
        return []
    assessment = result.assessment
    distribution = assessment.out_of_distribution
    cohort = "the site's healthy heads" if assessment.calibrated_for else "held-out training subjects"
    return [
        *_brain_age_rows(result.brain_age),
        *([("calibrated for", assessment.calibrated_for)] if assessment.calibrated_for else []),
        *_sdmt_rows(result.sdmt),
        ("decision", assessment.decision),
        *[("because" if number == 0 else "", str(reason)) for number, reason in enumerate(assessment.reasons)],
        (
            "distance to site" if assessment.calibrated_for else "distance to cohort",
            f"{distribution.distance:.2f} (percentile {distribution.percentile:.0f} of {cohort})",
        ),
        *_site_rows(assessment.site_correction),
    ]


def _site_rows(correction: str | None) -> list[Row]:
    """Return nothing of a model that corrects for no sites."""
    words = {
        "applied": "what it adds was taken out of the latent",
        "unknown_site": "unknown to the model: not corrected",
    }
    return [] if correction is None else [("site", words[correction])]


def _brain_age_rows(age: BrainAge) -> list[Row]:
    rows = [("brain age", f"{age.estimate:.1f} years {interval_text(age.interval)}")]
    if known := age.chronological_age:
        note = f"; {known.note}" if known.note else ""
        rows.append(("chronological age", f"{known.years:.1f} years (from {known.source.replace('_', ' ')}{note})"))
    if age.gap:
        rows.append(("gap", _signed(age.gap)))
    if age.gap_corrected:
        rows.append(("gap, age bias removed", _signed(age.gap_corrected)))
    return rows


def _sdmt_rows(sdmt: Sdmt | None) -> list[Row]:
    if sdmt is None:
        return []
    interval = f" {interval_text(sdmt.interval)}" if sdmt.interval else " (no interval)"
    return [("estimated SDMT", f"{sdmt.estimate:.0f} points{interval}; evidence: {sdmt.evidence}")]


def interval_text(interval: Interval) -> str:
    """Write it as in ``(90 %: 40.1 to 61.9)``."""
    return f"({100 * interval.level:.0f} %: {interval.lower:.1f} to {interval.upper:.1f})"


def _signed(gap: Estimate) -> str:
    interval = gap.interval
    return f"{gap.estimate:+.1f} years ({100 * interval.level:.0f} %: {interval.lower:+.1f} to {interval.upper:+.1f})"


def _series_rows(series: SeriesReport | None) -> list[Row]:
    if series is None:
        return []
    rows = [("series", series.chosen or "none")]
    for candidate in series.candidates:
        reasons = ", ".join(candidate.reasons)
        rows.append(("", f"{candidate.score:5.2f}  {candidate.label}{f' ({reasons})' if reasons else ''}"))
    return rows


def _quality_rows(quality: Quality | None) -> list[Row]:
    if quality is None:
        return []
    rows = [("quality", f"outside limits: {', '.join(quality.failed)}" if quality.failed else "all within limits")]
    for name, value in quality.measures.items():
        lowest, highest = quality.limits.get(name, (None, None))
        limits = " ".join(
            text
            for text in (
                None if lowest is None else f"at least {lowest:g}",
                None if highest is None else f"at most {highest:g}",
            )
            if text
        )
        number = "not taken" if value is None else f"{value:.4g}"
        rows.append(("", f"{name.replace('_', ' ')} {number}{f' ({limits})' if limits else ''}"))
    return rows


def _provenance_rows(provenance: Provenance | None) -> list[Row]:
    if provenance is None:
        return []
    digests = {
        "input": provenance.input_digest,
        "preprocessing": provenance.preprocessing_digest,
        "bundle": provenance.bundle_digest,
    }
    rows = [("provenance", ", ".join(f"{name} {digest[:12]}" for name, digest in digests.items() if digest))]
    rows.append(("", ", ".join(f"{name} {version}" for name, version in provenance.software.items())))
    rows.append(("", ", ".join(provenance.providers)))
    return rows


def _timing_rows(provenance: Provenance | None) -> list[Row]:
    if provenance is None or not provenance.timings_s:
        return []
    rows = [("seconds", f"{sum(provenance.timings_s.values()):6.2f}  in all")]
    rows += [("", f"{seconds:6.2f}  {stage.replace('_', ' ')}") for stage, seconds in provenance.timings_s.items()]
    return rows
