"""The morning report as one HTML page: nothing is fetched, so it can be kept and mailed."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from med3d_service.cohorts.agreement import Accuracy, Agreement, Mean95
from med3d_service.cohorts.diff import Changes, CohortDiff, DiffPoints
from med3d_service.cohorts.drift import OriginDrift
from med3d_service.cohorts.svg import BLUE, FAINT, RED, Chart, nice_ticks, padded

STYLE = """
body { font: 15px/1.45 Helvetica, Arial, sans-serif; color: #1d2733; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0.2rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; margin: 0.6rem 0 } th, td { text-align: right; padding: 0.2rem 0.8rem 0.2rem 0 }
th { font-weight: 600; border-bottom: 1px solid #66727f } td:first-child, th:first-child { text-align: left }
td.words, th.words { text-align: left } .note { color: #66727f; font-size: 0.9rem }
.notable { color: #c8102e; font-weight: 600 }
.charts { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 460px }
figcaption { font-size: 0.9rem; color: #66727f }
code { font-size: 0.85rem }
"""
SHOWN = 25
Cell = str | float | int | None


def diff_page(diff: CohortDiff, points: DiffPoints, made_at: datetime) -> str:
    """The page."""
    names = tuple(f"{bundle.name} {bundle.version}" for bundle in (diff.first, diff.second))
    title = escape(f"{diff.cohort}: {names[0]} and {names[1]}")
    digests = ", ".join(f"<code>{bundle.digest[:12]}</code>" for bundle in (diff.first, diff.second))
    said = f"{made_at:%Y-%m-%d %H:%M %Z}. Research use; not a medical device. Digests: {digests}."
    parts = (
        f'<h1>{title}</h1><p class="note">{said}</p>',
        _counts(diff),
        _brain_age(diff, points, names),
        _sdmt(diff, names),
        _changes(diff),
        _drift(diff.drift),
    )
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    body = "".join(parts)
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _counts(diff: CohortDiff) -> str:
    said = f"{diff.members} members; {diff.both} have a number by both."
    if diff.only_first_ran:
        said += f" <strong>{diff.only_first_ran} are not answered by the second bundle yet.</strong>"
    for bundle, unknown in zip((diff.first, diff.second), diff.unknown_sites, strict=True):
        if unknown:
            name = escape(f"{bundle.name} {bundle.version}")
            said += f" <strong>{name} has not learned the sites of {unknown}: nothing was corrected there.</strong>"
    return f"<p>{said}</p>"


def _brain_age(diff: CohortDiff, points: DiffPoints, names: Sequence[str]) -> str:
    shift = diff.brain_age_shift
    if shift is None:
        return "<h2>Brain age</h2><p>Fewer than two members have a number by both bundles.</p>"
    charts = [
        _figure(
            bland_altman(points.pairs, shift), "Difference against mean (Bland-Altman): shift, limits of agreement"
        ),
        _figure(shift_histogram(points.pairs), "How far members move"),
    ]
    if points.by_age:
        charts.append(_figure(age_chart(points, 1), f"Brain age against age, {names[0]}"))
        charts.append(_figure(age_chart(points, 2), f"Brain age against age, {names[1]}"))
    return (
        f"<h2>Brain age</h2>{_agreement(shift, 'years')}{_accuracy(diff.brain_age_accuracy, names, 'years', 'age')}"
        f'<div class="charts">{"".join(charts)}</div>'
    )


def _sdmt(diff: CohortDiff, names: Sequence[str]) -> str:
    if diff.sdmt_shift is None:
        return ""
    evidence = f'<p class="note">The heads learned from: {escape(", ".join(diff.sdmt_evidence))}.</p>'
    accuracy = _accuracy(diff.sdmt_accuracy, names, "points", "measured SDMT")
    return f"<h2>Estimated SDMT</h2>{evidence}{_agreement(diff.sdmt_shift, 'points')}{accuracy}"


def _agreement(found: Agreement, unit: str) -> str:
    low, high = found.limits_of_agreement
    rows = [
        ("shift, mean and 95 % interval", _mean(found.shift, unit)),
        ("shift, median", f"{found.median:+.2f} {unit}"),
        ("limits of agreement", f"{low:+.2f} to {high:+.2f} {unit}"),
        ("largest", f"{found.largest:.2f} {unit}"),
        ("slope of the difference on the mean", "" if found.slope is None else f"{found.slope:+.3f}"),
        ("correlation", "" if found.correlation is None else f"{found.correlation:.4f}"),
    ]
    return _table((f"{found.pairs} pairs, second minus first", ""), rows)


def _accuracy(found: Accuracy | None, names: Sequence[str], unit: str, truth: str) -> str:
    if found is None:
        return ""
    rows = [
        ("mean absolute error", *(f"{value:.2f}" for value in found.mae)),
        ("bias", *(f"{value:+.2f}" for value in found.bias)),
        ("correlation", *("" if value is None else f"{value:.3f}" for value in found.correlation)),
    ]
    change = f"<p>Change of the mean absolute error: {_mean(found.mae_change, unit)}.</p>"
    return _table((f"against {truth}, {found.people} people ({unit})", *map(escape, names)), rows) + change


def _mean(found: Mean95, unit: str) -> str:
    interval = "" if found.lower is None else f" ({found.lower:+.2f} to {found.upper:+.2f})"
    return f"{found.mean:+.2f}{interval} {unit}"


def _changes(diff: CohortDiff) -> str:
    kinds = (
        ("Newly refused", diff.newly_refused),
        ("Newly accepted", diff.newly_accepted),
        ("Newly failed", diff.newly_failed),
        ("Another decision", diff.decision_changes),
        (f"Across a gap of {diff.gap_years:g} years", diff.gap_crossings),
    )
    return "<h2>Who changed</h2>" + "".join(_changed(title, found) for title, found in kinds)


def _changed(title: str, found: Changes) -> str:
    if not found.count:
        return f"<p>{title}: none.</p>"
    rows = [(f"<code>{escape(m.study_id)}</code>", escape(m.before), escape(m.after)) for m in found.members[:SHOWN]]
    more = f'<p class="note">and {found.count - len(rows)} more; the CSV has all</p>' if found.count > len(rows) else ""
    return _table((f"{title}: {found.count}", "before", "after"), rows, words=True) + more


def _drift(origins: tuple[OriginDrift, ...]) -> str:
    said = (
        '<h2>Drift of what comes in</h2><p class="note">Scans of the last 30 days against those before, by site and '
        "scanner. Shift in standard deviations of before; notable from 0.5 on, where that is three standard errors.</p>"
    )
    rows = [
        (
            escape(" / ".join(filter(None, (origin.scan_site, origin.scanner))) or "(not told)"),
            str(origin.before),
            str(origin.recent),
            "; ".join(
                f'<span class="notable">{escape(m.measure)} {m.shift:+.2f}</span>' for m in origin.measures if m.notable
            )
            or ("nothing notable" if origin.measures else "too few to say"),
        )
        for origin in origins
    ]
    return said + _table(("site / scanner", "before", "last 30 days", "notable"), rows, words=True)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: bool = False) -> str:
    kind = ' class="words"' if words else ""
    top = "".join(f"<th{kind}>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td{kind}>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def bland_altman(pairs: Sequence[tuple[float, float]], found: Agreement) -> str:
    """Difference against mean, with shift and limits of agreement."""
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
    """How many members move how far."""
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
    """Brain age of the first (1) or second (2) bundle against age; the line is equality."""
    both = padded([value for point in points.by_age for value in point])
    chart = Chart(both, both, "age (years)", "brain age (years)")
    chart.line([(both[0], both[0]), (both[1], both[1])], FAINT, dashed=True)
    chart.points([(point[0], point[which]) for point in points.by_age], BLUE)
    return chart.svg("Brain age against age")
