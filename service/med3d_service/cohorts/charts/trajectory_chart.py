"""A subject's trajectory as a figure: a line is broken where two scans cannot be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from med3d_service.cohorts.charts.svg import padded
from med3d_service.cohorts.trajectory import Trajectory, Visit, stretches

if TYPE_CHECKING:
    from med3d_service.cohorts.charts.paper_figure import PaperFigure

WIDTH_MM, HEIGHT_MM = 160.0, 100.0
ROOM_FOR_LEGEND, ROOM_FOR_A_ROW = 0.35, 0.07
"""Above the data, as shares of their range."""
MOST_ROWS = 4
"""Neighbouring breaks have their words on rows of their own."""


@dataclass(frozen=True)
class ChartWords:
    """What is written in the figure, in one language. across: by the basis of time; reasons: by that of a break."""

    title: str
    across: Mapping[str, str]
    up: str
    answer: str
    review: str
    true_age: str
    broken: str
    reasons: Mapping[str, str]
    decimal_mark: str = "."


ENGLISH = ChartWords(
    title="Brain age over time",
    across={"age": "age (years)", "study_date": "years since the first scan", "order": "scan"},
    up="brain age (years)",
    answer="brain age with its prediction interval",
    review="for review",
    true_age="dashed grey: brain age = age",
    broken="dashed red: not comparable across this line",
    reasons={},
)


def draw_trajectory(found: Trajectory, words: ChartWords = ENGLISH) -> "PaperFigure | None":
    """Draw brain age over time with its intervals; None where there is no number to draw."""
    from med3d_service.cohorts.charts.paper_figure import COLOURS, FAINT, PaperFigure  # what draws takes long to import

    blue, red, orange = COLOURS[:3]
    shown = [visit for visit in found.visits if visit.brain_age is not None and visit.brain_age_interval is not None]
    if not shown:
        return None
    heights = [value for visit in shown for value in visit.brain_age_interval or ()]
    ages = [visit.age for visit in shown if visit.age is not None]
    across, (low, high) = padded([visit.time for visit in shown], 2.0), padded([*heights, *ages], 10.0)
    breaks = broken_between(found.visits)
    rows = rows_of_words([time for time, _ in breaks], across)
    top = high + len({*rows}) * ROOM_FOR_A_ROW * (high - low)
    up = low, top + ROOM_FOR_LEGEND * (high - low)
    axes = words.across[found.time_basis], words.up
    drawn = PaperFigure(WIDTH_MM, HEIGHT_MM, across, up, *axes, words.title, decimal_mark=words.decimal_mark)
    if found.time_basis == "order":
        drawn.names = ["", *(str(number) for number in range(1, len(found.visits) + 1))]
    if line := true_age_line(found, across, up):
        drawn.line(line, FAINT, dashed=True)
        drawn.legend(words.true_age, FAINT)
    for row, (time, changes) in zip(rows, breaks, strict=True):
        end = top - row * ROOM_FOR_A_ROW * (high - low)
        drawn.line([(time, up[0]), (time, end)], red, dashed=True)
        drawn.write((time, end), ", ".join(words.reasons.get(change, change) for change in changes), red)
    if breaks:
        drawn.legend(words.broken, red)
    for stretch in stretches(found.visits):
        drawn.line([(visit.time, visit.brain_age or 0.0) for visit in stretch], blue, width=1.4)
    for to_review, colour, said in ((False, blue, words.answer), (True, orange, words.review)):
        some = [visit for visit in shown if (visit.decision == "review") is to_review]
        for visit in some:
            drawn.line([(visit.time, limit) for limit in visit.brain_age_interval or ()], colour)
        drawn.points([(visit.time, visit.brain_age or 0.0) for visit in some], colour)
        if some or not to_review:
            drawn.legend(said, colour)
    return drawn


def rows_of_words(places: Sequence[float], across: tuple[float, float]) -> list[int]:
    """Return on which row from the top stands what is written at each of these upright lines, from left to right.

    Words lead to the middle: the outer a line is, the higher they stand, so that no inner one crosses them.
    """
    numbers = range(len(places))
    left = [number for number in numbers if 2 * places[number] <= across[0] + across[1]]
    right = [number for number in reversed(numbers) if number not in left]
    outside_in = [number for pair in zip_longest(left, right) for number in pair if number is not None]
    return [outside_in.index(number) % MOST_ROWS for number in numbers]


def true_age_line(found: Trajectory, across: tuple[float, float], up: tuple[float, float]) -> list[tuple[float, float]]:
    """Return where a brain is as old as its person: the whole line where time is age, else between known ages."""
    if found.time_basis == "age":
        low, high = max(across[0], up[0]), min(across[1], up[1])
        return [(low, low), (high, high)] if low < high else []
    shown = [visit for visit in found.visits if visit.brain_age is not None]
    known = [(visit.time, visit.age) for visit in shown if visit.age is not None]
    return known if len(known) > 1 else []


def broken_between(visits: Sequence[Visit]) -> list[tuple[float, tuple[str, ...]]]:
    """Return where the line is broken, and why: half-way between visits with numbers that cannot be compared.

    What changed at a visit without a number is among the reasons.
    """
    found = []
    for before, after in pairwise(stretches(visits)):
        last, first = before[-1], after[0]
        between = visits[visits.index(last) + 1 : visits.index(first) + 1]
        changes = dict.fromkeys(change for visit in between for change in visit.breaks)
        found.append(((last.time + first.time) / 2, tuple(changes)))
    return found
