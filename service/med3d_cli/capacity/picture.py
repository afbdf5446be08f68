"""A day or a night as a picture (SVG): studies that arrive, those that wait, and how many workers are busy."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from med3d_cli.capacity.measured import MeasuredCosts
from med3d_cli.capacity.plan import CapacityPlan, Day
from med3d_cli.capacity.simulation import WORKERS, Job

WIDTH, PANEL, LEFT, TOP, GAP = 760, 150, 70, 46, 56
BINS = 96
NIGHT_FROM_H = 22
COLOURS = ("#4c78a8", "#e45756", "#54a24b")
TEXT = 'font-family="sans-serif" font-size="12" fill="#333"'


def day_picture(made: CapacityPlan, costs: MeasuredCosts) -> str:
    """Draw three panels over the day or the window, in 96 bins: arrivals, studies that wait, busy workers."""
    day = Day.of(made.demand, costs)
    found, span_s = day.outcome(max(1, round(made.workers * day.part))), made.demand.shape.span_s
    worked = [pair for pairs in map(_on_workers, found.jobs, found.starts_s, found.ends_s) for pair in pairs]
    waited = [
        (job.arrival_s, next(start for step, start in zip(job.steps, starts, strict=True) if step.pool == WORKERS))
        for job, starts in zip(found.jobs, found.starts_s, strict=True)
    ]
    per_hour = BINS / (span_s / 3600)
    panels = (
        ("arrive, per hour", [per_hour * n / day.part for n in _per_bin([j.arrival_s for j in found.jobs], span_s)]),
        ("wait, on average", [count / day.part for count in _present(waited, span_s)]),
        (f"busy workers, on average (of {made.workers:,})", [n / day.part for n in _present(worked, span_s)]),
    )
    height = TOP + len(panels) * (PANEL + GAP)
    workers = f"{made.workers:,} worker{'' if made.workers == 1 else 's'}"
    title = f"{made.demand.studies:,} studies a day, {workers}: 95 % answered within {duration(made.answered_s[1])}"
    from_h = NIGHT_FROM_H if made.demand.shape.arrivals == "night" else 0
    body = "".join(
        _panel(name, values, COLOURS[number], TOP + 24 + number * (PANEL + GAP), _hours(from_h, span_s / 3600))
        for number, (name, values) in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f'<text x="{LEFT}" y="24" {TEXT} font-weight="bold">{escape(title)}</text>{body}</svg>\n'
    )


def duration(seconds: float) -> str:
    """Write it as in ``5.2 s``, ``30 min``, ``6.5 h``."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _on_workers(job: Job, starts: Sequence[float], ends: Sequence[float]) -> list[tuple[float, float]]:
    times = zip(job.steps, starts, ends, strict=True)
    return [(start, end) for step, start, end in times if step.pool == WORKERS]


def _per_bin(moments: Sequence[float], span_s: float) -> list[float]:
    counts = [0.0] * BINS
    for moment in moments:
        counts[min(BINS - 1, int(moment / span_s * BINS))] += 1
    return counts


def _present(spans: Sequence[tuple[float, float]], span_s: float) -> list[float]:
    """Tell how many are there, averaged over each bin; what stays beyond the last counts until its end."""
    width = span_s / BINS
    there = [0.0] * BINS
    for start, end in spans:
        for number in range(int(start / width), min(BINS - 1, int(end / width)) + 1):
            there[number] += max(0.0, min(end, (number + 1) * width) - max(start, number * width)) / width
    return there


def _hours(from_h: float, length_h: float) -> list[tuple[float, str]]:
    """Return (share of the width, hour of the day) for the ticks."""
    step = 4 if length_h > 12 else 1
    return [(hour / length_h, f"{(from_h + hour) % 24:g}") for hour in range(0, int(length_h) + 1, step)]


def _panel(name: str, values: Sequence[float], colour: str, top: float, hours: Sequence[tuple[float, str]]) -> str:
    most = max(*values, 1e-9)
    width = WIDTH - LEFT - 20
    bar = width / BINS
    bars = "".join(
        f'<rect x="{LEFT + number * bar:.1f}" y="{top + PANEL * (1 - value / most):.1f}" width="{bar - 1:.1f}" '
        f'height="{PANEL * value / most:.1f}" fill="{colour}"/>'
        for number, value in enumerate(values)
    )
    below = f'y="{top + PANEL + 16}" text-anchor="middle" {TEXT}'
    ticks = "".join(f'<text x="{LEFT + share * width:.1f}" {below}>{words}</text>' for share, words in hours)
    return (
        f'<text x="{LEFT}" y="{top - 8}" {TEXT}>{escape(name)}</text>{bars}{ticks}'
        f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{top + PANEL}" y2="{top + PANEL}" stroke="#333"/>'
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end" {TEXT}>{_short(most)}</text>'
        f'<text x="{LEFT - 6}" y="{top + PANEL}" text-anchor="end" {TEXT}>0</text>'
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
