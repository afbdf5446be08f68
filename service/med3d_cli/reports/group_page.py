"""The page of a group: who was left out and why, estimates against ages, gaps by group, pictures to judge, methods."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from med3d_cli.reports.group_statistics import GapByGroup, accuracy, gaps_by_group
from med3d_contract.results import Result
from med3d_service.cohorts.charts.svg import BLUE, GREY, INK, RED, Chart, Mark, padded
from med3d_service.cohorts.kept_pages.sheets import Drawn, drawn, render_sheet

PACKAGE = "med3d_cli.reports"
TRAINING_SCAN = "training_scan"
CAUTION = (
    "Scans that the model learned from look better than new ones; those that are known by their place in the model's "
    "own cohort are marked training_scan, drawn in grey and counted in no figure."
)


@dataclass(frozen=True)
class GroupScan:
    """A scan of the group, also one without an answer.

    page: address of its own page; picture: address of its image, which is in the page. groups: variable to level.
    """

    name: str
    person: str
    status: str
    result: Result | None = None
    code: str | None = None
    reason: str | None = None
    page: str | None = None
    picture: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_training_scan(self) -> bool:
        """Whether the model learned from this very scan."""
        return self.result is not None and any(one.code == TRAINING_SCAN for one in self.result.assessment.reasons)

    @property
    def outcome(self) -> str:
        """The decision, or why there is no number."""
        return self.result.assessment.decision if self.result else str(self.code or self.status)

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Codes with sentences: why to look, or why there is no number."""
        if self.result:
            return [(one.code, one.sentence) for one in self.result.assessment.reasons]
        return [(str(self.code or self.status), str(self.reason or ""))]

    @property
    def cells(self) -> dict[str, str]:
        """What the table has of it; empty where it does not apply."""
        if self.result is None:
            return dict.fromkeys(("age", "brain age", "interval", "gap, age bias removed"), "")
        age = self.result.brain_age
        return {
            "age": f"{age.chronological_age.years:.1f}" if age.chronological_age else "",
            "brain age": f"{age.estimate:.1f}",
            "interval": f"{age.interval.lower:.1f} to {age.interval.upper:.1f}",
            "gap, age bias removed": f"{age.gap_corrected.estimate:+.1f}" if age.gap_corrected else "",
        }


@dataclass(frozen=True)
class FlowStep:
    """A step of the flow: what is left, and what was left out on the way to the next."""

    words: str
    count: int
    left_out: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class GroupReport:
    """What the page shows. before: steps from what was there to the scans. methods, citation: paragraphs to paste."""

    title: str
    scans: Sequence[GroupScan]
    before: Sequence[FlowStep] = ()
    methods: Sequence[str] = ()
    citation: str | None = None
    variables: Sequence[str] = ()


def group_page(report: GroupReport) -> str:
    """Render the page, outliers first."""
    scans = outliers_first(report.scans)
    numbers = [one for one in report.scans if one.result]
    fresh = [one for one in numbers if not one.is_training_scan]
    groups = [found for variable in report.variables if (found := by_variable(variable, fresh)) is not None]
    return render_sheet(
        "group.html",
        package=PACKAGE,
        title=report.title,
        flow=[*report.before, *flow_steps(report.scans)],
        left_out=_codes(one for one in report.scans if not one.result),
        to_review=_codes(numbers),
        chart=scatter(numbers),
        colours=[variable for variable in report.variables if _level_count(numbers, variable) > 1],
        statistics=accuracy([one.result for one in fresh if one.result]),
        caution=CAUTION,
        training=len(numbers) - len(fresh),
        groups=[(found, gap_chart(found)) for found in groups],
        scans=scans,
        anchors={one.name: f"scan-{number}" for number, one in enumerate(scans)},
        methods=report.methods,
        citation=report.citation,
        names=Markup(json.dumps([one.name for one in scans]).replace("<", "\\u003c")),  # noqa: S704 - no tag is left
    )


def outliers_first(scans: Sequence[GroupScan]) -> list[GroupScan]:
    """Order members: those without a number, then by the gap's size or, without an age, how strange the head is."""

    def place(one: GroupScan) -> tuple[int, float]:
        if one.result is None:
            return (0, 0.0)
        gap = one.result.brain_age.gap_corrected
        strange = one.result.assessment.out_of_distribution.percentile / 100
        return (1, -(abs(gap.estimate) + strange) if gap else -strange)

    return sorted(scans, key=place)


def flow_steps(scans: Sequence[GroupScan]) -> list[FlowStep]:
    """Count from the scans to what may be used, with what is left out at each step."""
    numbers = [one for one in scans if one.result]
    fresh = [one for one in numbers if not one.is_training_scan]
    accepted = [one for one in fresh if one.outcome == "accepted"]
    without = Counter(one.outcome for one in scans if not one.result)
    training = [("scans that the model learned from", len(numbers) - len(fresh))] if len(numbers) > len(fresh) else []
    review = Counter(code for one in fresh if one.outcome != "accepted" for code, _ in one.reasons[:1])
    return [
        FlowStep("T1-weighted scans", len(scans), without.most_common()),
        FlowStep(
            "with a number", len(numbers), training + [(f"to review: {code}", n) for code, n in review.most_common()]
        ),
        FlowStep("accepted without a look", len(accepted)),
    ]


def by_variable(variable: str, scans: Sequence[GroupScan]) -> GapByGroup | None:
    """Compare the gaps by one variable."""
    return gaps_by_group(variable, [(one.person, one.groups.get(variable), one.result) for one in scans if one.result])


def scatter(scans: Sequence[GroupScan]) -> Drawn | None:
    """Draw estimates against ages, each point a link to its scan; None where no age is known."""
    placed = [
        (one, known.years, one.result.brain_age)
        for one in scans
        if one.result and (known := one.result.brain_age.chronological_age)
    ]
    if not placed:
        return None
    every = [value for _, years, age in placed for value in (years, age.interval.lower, age.interval.upper)]
    span = padded(every)
    chart = Chart(padded([years for _, years, _ in placed], 50.0), span, "age at the scan (years)", "brain age (years)")
    chart.line([(span[0], span[0]), (span[1], span[1])], dashed=True)
    for _, years, age in placed:
        chart.whisker(years, age.interval.lower, age.interval.upper, GREY)
    for one, years, age in placed:
        said = f"{one.name}: {age.estimate:.1f} years at {years:.1f} ({one.outcome})"
        colour = GREY if one.is_training_scan else BLUE if one.outcome == "accepted" else RED
        levels = {variable: level for variable, level in one.groups.items() if level}
        chart.mark(Mark((years, age.estimate), colour, one.page or "#table", said, one.name, json.dumps(levels)))
    caption = (
        "Blue: accepted. Red: to be reviewed. Grey: the model learned from it. Bars: prediction intervals. Dashed: "
        "brain age equals age. Each point leads to its scan."
    )
    return drawn(chart.svg("Brain age against age at the scan, with prediction intervals"), caption)


def gap_chart(found: GapByGroup) -> Drawn:
    """Draw the gap of each person by level, with the mean and its confidence interval."""
    gaps = [one.gap_years for one in found.people]
    levels = [one.level for one in found.levels]
    chart = Chart((-0.6, len(levels) - 0.4), padded([*gaps, 0.0]), "", "gap, age bias removed (years)", names=levels)
    chart.line([(-0.6, 0.0), (len(levels) - 0.4, 0.0)], dashed=True)
    for place, level in enumerate(found.levels):
        mine = [one.gap_years for one in found.people if one.level == level.level]
        aside = [place + 0.24 * ((number * 7919) % 11 / 5 - 1) for number in range(len(mine))]
        chart.points(list(zip(aside, mine, strict=True)), BLUE)
        chart.whisker(place, level.lower, level.upper, INK)
        chart.line([(place - 0.25, level.mean_years), (place + 0.25, level.mean_years)], INK, width=2.5)
    return drawn(chart.svg(f"Gap by {found.variable}"), "A dot: one person. Line: mean, 95 % confidence interval.")


def _level_count(scans: Sequence[GroupScan], variable: str) -> int:
    return len({one.groups.get(variable) for one in scans} - {None, ""})


def _codes(scans: Iterable[GroupScan]) -> list[tuple[str, str, str]]:
    """Return each code with how many scans have it and the sentence of the first."""
    sentences: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for one in scans:
        for code, sentence in one.reasons:
            counts[code] += 1
            sentences.setdefault(code, sentence)
    return [(code, str(count), sentences[code]) for code, count in counts.most_common()]
