"""The morning report as one HTML page: nothing is fetched, so it can be kept and mailed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from med3d_service.cohorts.agreement import Accuracy, Agreement, Mean95
from med3d_service.cohorts.charts.svg import BLUE, FAINT, RED, Chart, nice_ticks, padded
from med3d_service.cohorts.diff import Changes, CohortDiff, DiffPoints
from med3d_service.cohorts.kept_pages.sheets import Drawn, drawn, render_sheet

SHOWN = 25
Row = tuple[str, ...]


@dataclass(frozen=True)
class _AccuracyTable:
    people: int
    rows: Sequence[Row]
    change: str


def diff_page(diff: CohortDiff, points: DiffPoints, made_at: datetime) -> str:
    """Render the page."""
    names = tuple(f"{bundle.name} {bundle.version}" for bundle in (diff.first, diff.second))
    return render_sheet(
        "diff.html",
        title=f"{diff.cohort}: {names[0]} and {names[1]}",
        diff=diff,
        names=names,
        made_at=f"{made_at:%Y-%m-%d %H:%M %Z}",
        shift_rows=_agreement_rows(diff.brain_age_shift, "years"),
        age_accuracy=_accuracy(diff.brain_age_accuracy, "years"),
        charts=_charts(diff, points, names),
        sdmt_rows=_agreement_rows(diff.sdmt_shift, "points"),
        sdmt_accuracy=_accuracy(diff.sdmt_accuracy, "points"),
        changes=_changes(diff),
        most_shown=SHOWN,
    )


def _charts(diff: CohortDiff, points: DiffPoints, names: Sequence[str]) -> list[Drawn]:
    if diff.brain_age_shift is None:
        return []
    agreement = bland_altman(points.pairs, diff.brain_age_shift)
    charts = [
        drawn(agreement, "Difference against mean (Bland-Altman): shift, limits of agreement"),
        drawn(shift_histogram(points.pairs), "How far members move"),
    ]
    if points.by_age:
        charts += [drawn(age_chart(points, which), f"Brain age against age, {names[which - 1]}") for which in (1, 2)]
    return charts


def _agreement_rows(found: Agreement | None, unit: str) -> Sequence[Row]:
    if found is None:
        return ()
    low, high = found.limits_of_agreement
    return (
        ("shift, mean and 95 % interval", _mean(found.shift, unit)),
        ("shift, median", f"{found.median:+.2f} {unit}"),
        ("limits of agreement", f"{low:+.2f} to {high:+.2f} {unit}"),
        ("largest", f"{found.largest:.2f} {unit}"),
        ("slope of the difference on the mean", "" if found.slope is None else f"{found.slope:+.3f}"),
        ("correlation", "" if found.correlation is None else f"{found.correlation:.4f}"),
    )


def _accuracy(found: Accuracy | None, unit: str) -> _AccuracyTable | None:
    if found is None:
        return None
    rows = (
        ("mean absolute error", *(f"{value:.2f}" for value in found.mae)),
        ("bias", *(f"{value:+.2f}" for value in found.bias)),
        ("correlation", *("" if value is None else f"{value:.3f}" for value in found.correlation)),
    )
    return _AccuracyTable(found.people, rows, _mean(found.mae_change, unit))


def _mean(found: Mean95, unit: str) -> str:
    interval = "" if found.lower is None else f" ({found.lower:+.2f} to {found.upper:+.2f})"
    return f"{found.mean:+.2f}{interval} {unit}"


def _changes(diff: CohortDiff) -> Sequence[tuple[str, Changes]]:
    return (
        ("Newly refused", diff.newly_refused),
        ("Newly accepted", diff.newly_accepted),
        ("Newly failed", diff.newly_failed),
        ("Another decision", diff.decision_changes),
        (f"Across a gap of {diff.gap_years:g} years", diff.gap_crossings),
    )


def bland_altman(pairs: Sequence[tuple[float, float]], found: Agreement) -> str:
    """Draw difference against mean, with shift and limits of agreement."""
    points = [((first + second) / 2, second - first) for first, second in pairs]
    low, high = found.limits_of_agreement
    heights = padded([*(y for _, y in points), low, high, 0.0])
    chart = Chart(padded([x for x, _ in points]), heights, "mean of both (years)", "second minus first (years)")
    chart.points(points)
    chart.level(0, "", FAINT)
    chart.level(found.shift.mean, f"{found.shift.mean:+.2f}", RED)
    for limit in (low, high):
        chart.level(limit, f"{limit:+.2f}", RED, dashed=True)
    return chart.svg("Bland-Altman plot of brain age")


def shift_histogram(pairs: Sequence[tuple[float, float]]) -> str:
    """Tell how many members move how far."""
    shifts = [second - first for first, second in pairs]
    low, high = padded([*shifts, 0.0])
    edges = nice_ticks(low, high, 24)
    step = edges[1] - edges[0]
    counts: dict[int, int] = {}
    for shift in shifts:
        counts[int(shift // step)] = counts.get(int(shift // step), 0) + 1
    chart = Chart((low, high), (0, max(counts.values()) * 1.08), "second minus first (years)", "members")
    for place, count in sorted(counts.items()):
        chart.bar(place * step, (place + 1) * step, count)
    return chart.svg("Histogram of shifts in brain age")


def age_chart(points: DiffPoints, which: int) -> str:
    """Draw brain age of the first (1) or second (2) bundle against age; the line is equality."""
    both = padded([value for point in points.by_age for value in point])
    chart = Chart(both, both, "age (years)", "brain age (years)")
    chart.line([(both[0], both[0]), (both[1], both[1])], FAINT, dashed=True)
    chart.points([(point[0], point[which]) for point in points.by_age], BLUE)
    return chart.svg("Brain age against age")
