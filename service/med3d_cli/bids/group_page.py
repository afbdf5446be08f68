"""group_brainage.html: what a dataset's scans gave together, for people to look at. It fetches nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from med3d_cli.bids.dataset import Dataset
from med3d_cli.bids.derivative import write_text
from med3d_cli.bids.figure import thumbnail
from med3d_cli.bids.group_rows import GroupRow
from med3d_cli.bids.group_table import refusal_sentences, review_sentences, shown
from med3d_cli.bids.methods import UNLISTED, methods_paragraphs
from med3d_contract.results import RunStatus
from med3d_service.cohorts.sheets import Drawn, drawn, render_sheet
from med3d_service.cohorts.svg import BLUE, GREY, RED, Chart, padded

PAGE = "group_brainage.html"
FEWEST_FOR_STATISTICS = 3


@dataclass(frozen=True)
class Pair:
    """A scan whose age is known: years."""

    age: float
    estimate: float
    lower: float
    upper: float
    accepted: bool


@dataclass(frozen=True)
class Shown:
    """A scan of the table and the gallery. picture: the address of its image, which is in the page."""

    anchor: str
    scan: str
    outcome: str
    status: str
    cells: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...]
    picture: str | None


def write_page(out: Path, dataset: Dataset, rows: Sequence[GroupRow]) -> None:
    """Write the page."""
    write_text(out / PAGE, group_page(dataset, rows))


def group_page(dataset: Dataset, rows: Sequence[GroupRow]) -> str:
    """Render the page."""
    pairs = pairs_of(rows)
    return render_sheet(
        "group.html",
        package="med3d_cli.bids",
        title="Brain age of a BIDS dataset",
        flow=_flow(dataset, rows),
        left_out=_codes(rows, refusal_sentences(rows), of_numbers=False),
        to_review=_codes(rows, review_sentences(rows), of_numbers=True),
        chart=_chart(pairs) if pairs else None,
        statistics=statistics(pairs),
        caution=UNLISTED,
        scans=[_shown(number, row) for number, row in enumerate(rows)],
        methods=methods_paragraphs(rows),
    )


def pairs_of(rows: Sequence[GroupRow]) -> list[Pair]:
    """Return the scans with a number and an age."""
    results = [row.answer.result for row in rows if row.answer and row.answer.result]
    return [
        Pair(
            known.years, result.brain_age.estimate, result.brain_age.interval.lower, result.brain_age.interval.upper,
            result.assessment.decision == "accepted",
        )
        for result in results
        if (known := result.brain_age.chronological_age) is not None
    ]  # fmt: skip


def statistics(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """Return what the pairs tell of the estimates; nothing where they are too few."""
    if len(pairs) < FEWEST_FOR_STATISTICS:
        return []
    gaps = [pair.estimate - pair.age for pair in pairs]
    inside = sum(pair.lower <= pair.age <= pair.upper for pair in pairs)
    return [
        ("scans with a number and an age", str(len(pairs))),
        ("mean absolute gap", f"{sum(map(abs, gaps)) / len(gaps):.1f} years"),
        ("mean gap", f"{sum(gaps) / len(gaps):+.1f} years"),
        ("age inside the interval", f"{inside} of {len(pairs)}"),
    ]


def _flow(dataset: Dataset, rows: Sequence[GroupRow]) -> list[tuple[str, str]]:
    """Count from what the dataset holds to what may be used."""
    counts = Counter(row.status for row in rows)
    decisions = Counter(row.cells.get("decision") for row in rows if row.status == RunStatus.COMPLETED)
    people = len({row.participant for row in rows})
    passed = ", ".join(f"{count} {why}" for why, count in dataset.passed_over.items())
    lines = [("participants", str(people)), ("T1-weighted scans", str(len(dataset.scans)))]
    lines += [(f"scans {status.replace('_', ' ')}", str(count)) for status, count in sorted(counts.items())]
    lines += [
        ("of the completed accepted", str(decisions["accepted"])),
        ("of the completed to review", str(decisions["review"])),
    ]
    return [*lines, *([("images passed over", passed)] if passed else [])]


def _codes(rows: Sequence[GroupRow], sentences: Mapping[str, str], *, of_numbers: bool) -> list[tuple[str, str, str]]:
    """Return each code with how many scans have it and the sentence of the first."""
    if of_numbers:
        results = [row.answer.result for row in rows if row.answer and row.answer.result]
        counts = Counter(one.code for result in results for one in result.assessment.reasons)
    else:
        counts = Counter(str(row.cells["code"]) for row in rows if row.cells.get("code"))
    return [(code, str(count), sentences[code]) for code, count in counts.most_common()]


def _chart(pairs: Sequence[Pair]) -> Drawn:
    every = [value for pair in pairs for value in (pair.age, pair.lower, pair.upper)]
    span = padded(every)
    chart = Chart(padded([pair.age for pair in pairs]), span, "age at the scan (years)", "brain age (years)")
    chart.line([(span[0], span[0]), (span[1], span[1])], dashed=True)
    for pair in pairs:
        chart.whisker(pair.age, pair.lower, pair.upper, GREY)
    for accepted, colour in ((False, RED), (True, BLUE)):
        chart.points([(pair.age, pair.estimate) for pair in pairs if pair.accepted is accepted], colour)
    caption = "Blue: accepted. Red: to be reviewed. Bars: prediction intervals. Dashed: brain age equals age."
    return drawn(chart.svg("Brain age against age at the scan, with prediction intervals"), caption)


def _shown(number: int, row: GroupRow) -> Shown:
    cells = row.cells
    interval = "" if row.status != RunStatus.COMPLETED else (
        f"{shown(cells, 'brain_age_lower')} to {shown(cells, 'brain_age_upper')}"
    )  # fmt: skip
    outcome = str(cells.get("decision") or cells.get("code") or row.status)
    age = shown(cells, "chronological_age_years")
    return Shown(
        anchor=f"scan-{number}",
        scan=row.scan,
        outcome=outcome,
        status=row.status,
        cells=(age, shown(cells, "brain_age_years"), interval, shown(cells, "gap_corrected_years")),
        reasons=_reasons(row),
        picture=_picture(row.figure),
    )


def _reasons(row: GroupRow) -> tuple[tuple[str, str], ...]:
    if row.answer and row.answer.result:
        return tuple((one.code, one.sentence) for one in row.answer.result.assessment.reasons)
    return ((str(row.cells["code"]), str(row.cells["reason"])),)


def _picture(figure: Path | None) -> str | None:
    try:
        return None if figure is None else thumbnail(figure.read_bytes())
    except OSError:  # taken away since; the table has the scan all the same
        return None
