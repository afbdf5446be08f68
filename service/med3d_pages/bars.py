"""An interval as a small bar: the estimate, its limits and the person's age on one scale of years."""

from dataclasses import dataclass

from med3d_contract.results import BrainAge
from med3d_pages.texts import Catalogue

OLDEST = 100.0
PER_YEAR = 2.0


@dataclass(frozen=True)
class AgeBar:
    """Places in a box of 200 by 16, 2 for each year from 0 to 100. ``label`` says the same in words."""

    left: float
    width: float
    estimate: float
    age: float | None
    label: str


def age_bar(found: BrainAge, t: Catalogue) -> AgeBar:
    """Draw the interval of a brain age."""
    left, right = (_place(limit) for limit in (found.interval.lower, found.interval.upper))
    known = found.chronological_age
    label = t(
        "bar.label",
        estimate=t.numbers.years(found.estimate),
        interval=t.numbers.interval(found.interval),
        level=t.numbers.percent(found.interval.level),
    )
    if known is not None:
        label += t("bar.age", age=t.numbers.years(known.years))
    return AgeBar(left, right - left, _place(found.estimate), None if known is None else _place(known.years), label)


def _place(value: float) -> float:
    return round(PER_YEAR * min(max(value, 0.0), OLDEST), 1)
