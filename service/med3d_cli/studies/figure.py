"""`med3d figure`: figures for a paper out of a table of answers, as PNG, PDF or SVG."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.kept_file import write_whole
from med3d_cli.studies.answer_table import EXIT_USAGE, AnswerRow, read_answer_table
from med3d_pipeline.counting import counted

if TYPE_CHECKING:
    from med3d_service.cohorts.charts.paper_figure import PaperFigure

ENDINGS = (".png", ".pdf", ".svg")
TRAINING_SCAN = "training_scan"
MOST_LEVELS = 8
AGE, ESTIMATE = "age at the scan (years)", "estimated brain age (years)"
GAP = "brain age gap, age bias removed (years)"


class Kind(StrEnum):
    """What is drawn."""

    AGES = "ages"
    GAPS = "gaps"
    VISITS = "visits"


@dataclass(frozen=True)
class Point:
    """A scan with a number. Years; level: of the column to tell apart by."""

    person: str
    age: float | None
    estimate: float
    lower: float
    upper: float
    gap: float | None
    level: str


def figure(
    table: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="group_brainage.tsv, or a table of `med3d analyse --csv`."),
    ],
    out: Annotated[Path, typer.Argument(dir_okay=False, help="A new file: .png, .pdf or .svg.")],
    kind: Annotated[Kind, typer.Option(help="Estimates against ages, gaps, or each person's visits.")] = Kind.AGES,
    by: Annotated[str | None, typer.Option(help="A column of the table: its levels are told apart.")] = None,
    title: Annotated[str, typer.Option(help="Above the figure.")] = "",
    width_mm: Annotated[float, typer.Option(min=40, max=400, help="Of the figure; a column is 85 to 90.")] = 120.0,
    with_training_scans: Annotated[
        bool, typer.Option("--with-training-scans", help="Also scans that the model learned from.")
    ] = False,
) -> None:
    """Draw a figure for a paper: estimates against ages, gaps by group, or how people change."""
    if out.suffix not in ENDINGS:
        raise CommandError(f"{out.name} ends in none of {', '.join(ENDINGS)}", EXIT_USAGE)
    if out.exists():
        raise CommandError(f"{out} is there already and is not replaced; name another file", EXIT_USAGE)
    points, learned = read_points(table, by, with_training_scans=with_training_scans)
    with extra("service"):
        left_out = f"; left out: {counted(learned, 'scan', 'scans')} that the model learned from" if learned else ""
        try:
            drawn = {Kind.AGES: draw_ages, Kind.GAPS: draw_gaps, Kind.VISITS: draw_visits}[kind](
                points, width_mm, title
            )
        except CommandError as error:
            way_out = " (--with-training-scans draws them)" if learned else ""
            raise CommandError(f"{error}{left_out}{way_out}", error.exit_code) from error
    write_whole(out, [drawn.as_form(out.suffix.removeprefix("."))])
    typer.echo(f"{out}: {counted(len(points), 'scan', 'scans')}{left_out}")


def read_points(table: Path, by: str | None, *, with_training_scans: bool) -> tuple[list[Point], int]:
    """Read the scans with a number, and how many were left out as the model learned from them. Raises CommandError."""
    found = read_answer_table(table)
    if by is not None and by not in found.columns:
        raise CommandError(f"{table} has no column {by}; there are {', '.join(found.columns)}", EXIT_USAGE)
    points = [(_learned_from(row), point) for row in found.rows if (point := _point(row, by)) is not None]
    kept = [point for learned, point in points if with_training_scans or not learned]
    if not kept:
        learned = sum(learned for learned, _ in points)
        raise CommandError(f"{table} has no scan with a number to draw ({learned} are training scans)")
    return kept, len(points) - len(kept)


def _learned_from(row: AnswerRow) -> bool:
    return TRAINING_SCAN in row.cells.get("reason_codes", "").split("; ")


def _point(row: AnswerRow, by: str | None) -> Point | None:
    """Return the scan to draw; None where it has no number."""
    estimate = row.number("brain_age_years")
    if estimate is None:
        return None
    lower, upper = row.number("brain_age_lower"), row.number("brain_age_upper")
    return Point(
        person=row.cells.get("participant_id") or row.cells.get("input", ""),
        age=row.number("chronological_age_years"),
        estimate=estimate,
        lower=estimate if lower is None else lower,
        upper=estimate if upper is None else upper,
        gap=row.number("gap_corrected_years"),
        level=row.cells[by] if by else "",
    )


def draw_ages(points: Sequence[Point], width_mm: float, title: str) -> "PaperFigure":
    """Draw estimates against ages with prediction intervals and the line where both are equal."""
    from med3d_service.cohorts.charts.paper_figure import COLOURS, FAINT, PaperFigure

    known = [(one.age, one) for one in points if one.age is not None]
    if not known:
        raise CommandError("no scan of the table has an age to draw against")
    span = padded([value for age, one in known for value in (age, one.lower, one.upper)])
    drawn = PaperFigure(width_mm, 0.85 * width_mm, span, span, AGE, ESTIMATE, title)
    drawn.line([(span[0], span[0]), (span[1], span[1])], FAINT, dashed=True)
    for (level, some), colour in zip(_levels([one for _, one in known]).items(), COLOURS, strict=False):
        places = [(one.age or 0.0, one) for one in some]
        for age, one in places:
            drawn.line([(age, one.lower), (age, one.upper)], colour, width=0.4)
        drawn.points([(age, one.estimate) for age, one in places], colour)
        drawn.legend(f"{level or 'scans'} (n = {len(some)})", colour)
    drawn.legend("dashed: brain age = age; bars: prediction intervals", FAINT)
    return drawn


def draw_gaps(points: Sequence[Point], width_mm: float, title: str) -> "PaperFigure":
    """Draw the gaps of each level, age bias removed: of who was scanned several times, the mean."""
    from med3d_service.cohorts.charts.paper_figure import COLOURS, FAINT, INK, PaperFigure

    people = gaps_of_people(points)
    if not people:
        raise CommandError("no scan of the table has a gap to draw: ages are missing")
    names = [f"{level or 'all'} (n = {len(gaps)})" for level, gaps in people.items()]
    ends = (-0.6, len(names) - 0.4)
    every = padded([0.0, *(gap for gaps in people.values() for gap in gaps)])
    drawn = PaperFigure(width_mm, 0.7 * width_mm, ends, every, "", GAP, title, names)
    drawn.line([(ends[0], 0.0), (ends[1], 0.0)], FAINT, dashed=True)
    for place, (gaps, colour) in enumerate(zip(people.values(), COLOURS, strict=False)):
        aside = [place + 0.2 * ((number * 7919) % 11 / 5 - 1) for number in range(len(gaps))]
        drawn.points(list(zip(aside, gaps, strict=True)), colour)
        mean = sum(gaps) / len(gaps)
        drawn.line([(place - 0.28, mean), (place + 0.28, mean)], INK, width=1.6)
    return drawn


def gaps_of_people(points: Sequence[Point]) -> dict[str, list[float]]:
    """Return the mean gap of each person by level, so that who was scanned twice does not count twice."""
    found: dict[str, list[float]] = {}
    for level, some in _levels([one for one in points if one.gap is not None]).items():
        people: dict[str, list[float]] = defaultdict(list)
        for one in some:
            people[one.person].append(one.gap or 0.0)
        found[level] = [sum(gaps) / len(gaps) for gaps in people.values()]
    return found


def draw_visits(points: Sequence[Point], width_mm: float, title: str) -> "PaperFigure":
    """Draw each person's visits over age, joined by a line. Raises CommandError where a visit has no age of its own."""
    from med3d_service.cohorts.charts.paper_figure import COLOURS, FAINT, PaperFigure

    several = visits_of_people(points)
    ages = [one.age or 0.0 for some in several for one in some]
    heights = [one.estimate for some in several for one in some]
    across, up = padded(ages), padded([*ages, *heights])
    drawn = PaperFigure(width_mm, 0.7 * width_mm, across, up, AGE, ESTIMATE, title)
    drawn.line([(across[0], across[0]), (across[1], across[1])], FAINT, dashed=True)
    levels = dict(zip(_levels([some[0] for some in several]), COLOURS, strict=False))
    for some in several:
        places = [(one.age or 0.0, one.estimate) for one in some]
        drawn.line(places, levels[some[0].level])
        drawn.points(places, levels[some[0].level])
    for level, colour in levels.items():
        count = sum(some[0].level == level for some in several)
        drawn.legend(f"{level or 'people'} (n = {count})", colour)
    drawn.legend("dashed: brain age = age", FAINT)
    return drawn


def visits_of_people(points: Sequence[Point]) -> list[list[Point]]:
    """Return the visits of who has several, in order. Raises CommandError where a visit has no age of its own."""
    visits: dict[str, list[Point]] = defaultdict(list)
    for one in points:
        visits[one.person].append(one)
    several = [some for some in visits.values() if len(some) > 1]
    if not several:
        raise CommandError("nobody in the table has several visits with a number")
    if unknown := sum(one.age is None for some in several for one in some):
        visits_have = counted(unknown, "visit has no age of its own", "visits have no age of their own")
        raise CommandError(f"{visits_have}: state it in the sessions file, or draw ages")
    if all(len({one.age for one in some}) == 1 for some in several):
        raise CommandError("the visits of each person have one age: it is that of one visit; state each visit's own")
    return [sorted(some, key=lambda one: one.age or 0.0) for some in several]


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of ``values`` with some room on both sides."""
    low, high = min(values), max(values)
    room = 0.06 * max(high - low, 1.0)
    return low - room, high + room


def _levels(points: Sequence[Point]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = defaultdict(list)
    for one in points:
        found[one.level].append(one)
    if len(found) > MOST_LEVELS:
        raise CommandError(f"the column has {len(found)} levels, more than the {MOST_LEVELS} that can be told apart")
    return dict(sorted(found.items()))
