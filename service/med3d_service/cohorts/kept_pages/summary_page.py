"""The summary of a cohort by one model as one HTML page: nothing is fetched, so it can be kept and mailed."""

from collections.abc import Sequence
from datetime import datetime

from med3d_service.cohorts.charts.svg import BLUE, FAINT, RED, Chart, padded
from med3d_service.cohorts.kept_pages.sheets import Drawn, drawn, render_sheet
from med3d_service.cohorts.scatter import CohortScatter
from med3d_service.cohorts.summary import CohortSummary

Row = tuple[str, ...]
RUN_CHARACTERS = 8
"""Enough for `med3d show`, and for a narrow screen."""


def summary_page(summary: CohortSummary, scatter: CohortScatter, made_at: datetime) -> str:
    """Render the page."""
    return render_sheet(
        "summary.html",
        title=f"{summary.cohort}: {summary.bundle.name} {summary.bundle.version}",
        summary=summary,
        made_at=f"{made_at:%Y-%m-%d %H:%M %Z}",
        standing=[(name, str(count)) for name, count in summary.members.model_dump().items() if count],
        accuracy=accuracy_rows(summary),
        charts=_charts(scatter),
        farthest=[
            (one.run_id[:RUN_CHARACTERS], f"{one.age:.1f}", f"{one.brain_age:.1f}", f"{one.gap:+.1f}", one.decision)
            for one in summary.farthest
        ],
        without_number=[(one.code, one.status, str(one.count)) for one in summary.without_number],
    )


def accuracy_rows(summary: CohortSummary) -> Sequence[Row]:
    """Return what is said of the estimates against ages; none where nobody counts."""
    error, gap = summary.mean_absolute_error, summary.mean_gap
    if error is None or gap is None:
        return ()
    between = (
        [f" ({one.lower:{form}} to {one.upper:{form}})" for one, form in ((error, ".2f"), (gap, "+.2f"))]
        if error.lower is not None
        else ["", ""]
    )
    return (
        ("mean absolute error, 95 % interval", f"{error.mean:.2f}{between[0]} years"),
        ("mean gap (brain age minus age), 95 % interval", f"{gap.mean:+.2f}{between[1]} years"),
        ("correlation with age", "" if summary.correlation is None else f"{summary.correlation:.3f}"),
        ("marked for review", f"{summary.to_review} of {summary.people}"),
    )


def _charts(scatter: CohortScatter) -> list[Drawn]:
    if not scatter.points:
        return []
    both = padded([value for one in scatter.points for value in (one.age, one.brain_age)], 10.0)
    chart = Chart(both, both, "age (years)", "brain age (years)")
    chart.line([(both[0], both[0]), (both[1], both[1])], FAINT, dashed=True)
    for decision, colour in (("accepted", BLUE), ("review", RED)):
        chart.points([(one.age, one.brain_age) for one in scatter.points if one.decision == decision], colour)
    caption = "Brain age against age: accepted blue, to review red; the dashed line is equality"
    return [drawn(chart.svg("Brain age against age"), caption)]
