"""A person's visits as their page arranges them: a chart over time, and a line of the table for each."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from med3d_contract.results import VerdictView
from med3d_pages.plots import Plot
from med3d_pages.texts import Catalogue
from med3d_service.cohorts.charts.svg import padded
from med3d_service.cohorts.charts.trajectory_chart import (
    ROOM_FOR_A_ROW,
    ChartWords,
    broken_between,
    rows_of_words,
    true_age_line,
)
from med3d_service.cohorts.person import Person
from med3d_service.cohorts.trajectory import BREAKS, ReliableChange, Trajectory, Visit, stretches


@dataclass(frozen=True)
class Dot:
    """A visit's estimate with its interval and, where it is known, the age: places in the chart."""

    x: float
    y: float
    low: float
    high: float
    age: float | None
    state: str
    run_id: str


@dataclass(frozen=True)
class Break:
    """Where the line is broken, and why in words, on which row from the top."""

    x: float
    words: str
    is_right: bool
    row: int


@dataclass(frozen=True)
class PersonChart:
    """Brain age over time. ``true_age``: the line on which a brain is as old as its person; empty where unknown."""

    plot: Plot
    dots: tuple[Dot, ...]
    lines: tuple[str, ...]
    breaks: tuple[Break, ...]
    true_age: str
    label: str
    across: str


@dataclass(frozen=True)
class VisitRow:
    """A visit as the table shows it, numbers in words. ``date``: DICOM, empty for those who may not know it."""

    visit: Visit
    time: str
    date: str = field(repr=False)
    verdict: VerdictView | None
    breaks: tuple[str, ...]


def person_chart(found: Trajectory, t: Catalogue) -> PersonChart | None:
    """Draw a person's answers; None where there is no number."""
    shown = [visit for visit in found.visits if visit.brain_age is not None and visit.brain_age_interval is not None]
    if not shown:
        return None
    limits = [value for visit in shown for value in visit.brain_age_interval or ()]
    ages = [visit.age for visit in shown if visit.age is not None]
    low, high = padded([*limits, *ages], 10.0)
    across = padded([visit.time for visit in shown], 2.0)
    broken = broken_between(found.visits)
    rows = rows_of_words([time for time, _ in broken], across)
    plot = Plot(across, (low, high + len({*rows}) * ROOM_FOR_A_ROW * (high - low)))
    last, line = shown[-1], true_age_line(found, plot.across, plot.up)
    return PersonChart(
        plot=plot,
        dots=tuple(_dot(plot, visit) for visit in shown),
        lines=tuple(_line(plot, stretch) for stretch in stretches(found.visits) if len(stretch) > 1),
        breaks=tuple(
            _break(plot.x(time), changes, row, plot, t) for row, (time, changes) in zip(rows, broken, strict=True)
        ),
        true_age=plot.path(line) if line else "",
        label=t("person.chart", count=len(shown), latest=t.numbers.years(last.brain_age)),
        across=t(f"person.time.{found.time_basis}"),
    )


def _dot(plot: Plot, visit: Visit) -> Dot:
    low, high = visit.brain_age_interval or (0.0, 0.0)
    return Dot(
        x=plot.x(visit.time),
        y=plot.y(visit.brain_age or 0.0),
        low=plot.y(low),
        high=plot.y(high),
        age=None if visit.age is None else plot.y(visit.age),
        state=visit.decision or "",
        run_id=visit.run_id,
    )


def _line(plot: Plot, stretch: Sequence[Visit]) -> str:
    return plot.path([(visit.time, visit.brain_age or 0.0) for visit in stretch])


def _break(x: float, changes: Sequence[str], row: int, plot: Plot, t: Catalogue) -> Break:
    words = ", ".join(_break_word(change, t) for change in changes)
    return Break(x=x, words=words, is_right=x > plot.width / 2, row=row)


def chart_words(t: Catalogue) -> ChartWords:
    """Say in the page's language what is written in the figure that can be saved."""
    return ChartWords(
        title=t("person.over_time"),
        across={basis: t(f"person.time.{basis}") for basis in ("age", "study_date", "order")},
        up=t("person.brain_age"),
        answer=t("person.figure.answer"),
        review=t("person.legend.review"),
        true_age=t("person.figure.age"),
        broken=t("person.figure.break"),
        reasons={reason: _break_word(reason, t) for reason in BREAKS},
        decimal_mark=t.numbers.mark,
    )


def break_words(visit: Visit, t: Catalogue) -> tuple[str, ...]:
    """Say why no line leads to a visit from the one before."""
    return tuple(_break_word(reason, t) for reason in visit.breaks)


def _break_word(reason: str, t: Catalogue) -> str:
    return t.named("break", reason.removesuffix(" changed").replace(" ", "_"))


def visit_lines(person: Person, t: Catalogue) -> list[VisitRow]:
    """Make the lines of the table, the latest visit first."""
    found = person.trajectory
    return [
        VisitRow(
            visit=visit,
            time=_time_words(found, visit, t),
            date=person.dates.get(visit.study_id, ""),
            verdict=person.verdicts.get(visit.run_id),
            breaks=break_words(visit, t),
        )
        for visit in reversed(found.visits)
    ]


def change_words(found: Trajectory, change: ReliableChange, t: Catalogue) -> str:
    """Say a change in a sentence, and whether it is more than a second scan of the same day would show."""
    times = {visit.study_id: _time_words(found, visit, t) for visit in found.visits}
    return t(
        "person.change.reliable" if change.reliable else "person.change.within",
        measure=t(f"person.measure.{change.measure}"),
        first=times[change.first_study_id],
        last=times[change.last_study_id],
        change=t.numbers.signed(change.change),
        least=t.numbers.plain(change.least, 1),
    )


def _time_words(found: Trajectory, visit: Visit, t: Catalogue) -> str:
    return t.numbers.plain(visit.time, 0 if found.time_basis == "order" else 1)
