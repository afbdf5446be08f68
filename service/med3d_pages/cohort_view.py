"""A cohort as its page arranges it: its scatter with links, and its progress as a bar."""

from collections.abc import Sequence
from dataclasses import dataclass

from med3d_contract.cohorts import MemberCounts
from med3d_pages.plots import Plot
from med3d_pages.texts import Catalogue
from med3d_service.cohorts.charts.svg import padded
from med3d_service.cohorts.scatter import CohortScatter, ScatterPoint

MOST_POINTS, FARTHEST = 450, 100
SIDE = 360.0
STATES = ("completed", "refused", "failed", "under_way", "waiting")


@dataclass(frozen=True)
class CohortChart:
    """The points that are drawn, each as (x, y, run, what to say of it); of many, some, and all that are far off."""

    plot: Plot
    points: tuple[tuple[float, float, str, str], ...]
    equal: str
    people: int


def cohort_chart(found: CohortScatter, t: Catalogue) -> CohortChart | None:
    """Draw a cohort; None where nothing is to be drawn."""
    if not found.points:
        return None
    values = [value for one in found.points for value in (one.age, one.brain_age)]
    limits = padded(values, 10.0)
    plot = Plot(limits, limits, width=SIDE, height=SIDE)
    drawn = [
        (
            plot.x(one.age),
            plot.y(one.brain_age),
            one.run_id,
            f"{t.numbers.years(one.age)} → {t.numbers.years(one.brain_age)}",
        )
        for one in _some(found.points)
    ]
    equal = plot.path([(limits[0], limits[0]), (limits[1], limits[1])])
    return CohortChart(plot, tuple(drawn), equal, len(found.points))


def _some(points: Sequence[ScatterPoint]) -> Sequence[ScatterPoint]:
    """Choose points that fit onto a page: those farthest off, and of the rest every so many."""
    if len(points) <= MOST_POINTS:
        return points
    by_distance = sorted(points, key=lambda one: abs(one.gap), reverse=True)
    rest = by_distance[FARTHEST:]
    return [*by_distance[:FARTHEST], *rest[:: -(-len(rest) // (MOST_POINTS - FARTHEST))]]


def shares(counts: MemberCounts) -> list[tuple[str, int]]:
    """Count members by where they stand, in the order of a bar."""
    under_way = counts.queued + counts.preprocessing + counts.preprocessed + counts.predicting
    numbers = (counts.completed, counts.refused, counts.failed, under_way, counts.waiting + counts.copying)
    return list(zip(STATES, numbers, strict=True))
