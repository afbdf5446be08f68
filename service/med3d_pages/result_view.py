"""A case as its page arranges it: figures with their arithmetic, quality against limits, the cohort's chart."""

from collections.abc import Mapping
from dataclasses import dataclass

from med3d_contract.pictures import ReferenceCohort
from med3d_contract.results import BrainAge, Quality, Result
from med3d_pages.texts import Catalogue
from med3d_service.results.cases import Case
from med3d_service.results.reports.printed_page.cohort_position import WITHIN_YEARS, position_by_age

DECIMALS: Mapping[str, int] = {
    "brain_volume_ml": 0,
    "template_outside_view": 3,
    "brain_at_edge_cm2": 1,
    "brain_at_removed_face_cm2": 1,
    "signal_to_noise": 1,
    "contrast_to_noise": 1,
    "gain_by_turning": 3,
    "not_measured_share": 4,
}
MOST_POINTS = 1200
CHART_YEARS = (10.0, 100.0)
CHART_SIDE = 180.0


@dataclass(frozen=True)
class Arithmetic:
    """The gap as it is made, each number as it is shown, so that the lines add up on the page."""

    estimate: str
    age: str
    gap: str
    usual: str | None
    corrected: str | None


@dataclass(frozen=True)
class Measure:
    """A measure of the image with its limits in words. ``inside``: None where it has none or was not measured."""

    name: str
    value: str
    limits: str
    inside: bool | None


@dataclass(frozen=True)
class Chart:
    """Brain age against age in a square of CHART_SIDE: the cohort's points, and this person's with the interval."""

    points: tuple[tuple[float, float], ...]
    here: tuple[float | None, float]
    limits: tuple[float, float]
    ticks: tuple[tuple[float, str], ...]
    people: int
    position: str | None


def arithmetic(found: BrainAge, t: Catalogue) -> Arithmetic | None:
    """Lay out the gap; None without an age."""
    known = found.chronological_age
    if known is None:
        return None
    estimate, age = round(found.estimate, 1), round(known.years, 1)
    gap = round(estimate - age, 1)
    corrected = None if found.gap_corrected is None else round(found.gap_corrected.estimate, 1)
    return Arithmetic(
        t.numbers.plain(estimate, 1),
        t.numbers.plain(age, 1),
        t.numbers.signed(gap),
        None if corrected is None else t.numbers.signed(round(gap - corrected, 1)),
        None if corrected is None else t.numbers.signed(corrected),
    )


def measures(quality: Quality, t: Catalogue) -> list[Measure]:
    """Lay out the quality gate: what is outside its limits first."""
    found = [_measure(name, value, quality, t) for name, value in quality.measures.items()]
    return sorted(found, key=lambda one: one.inside is not False)


def _measure(name: str, value: float | None, quality: Quality, t: Catalogue) -> Measure:
    lowest, highest = quality.limits.get(name, (None, None))
    decimals = DECIMALS.get(name, 2)
    low, high = (None if limit is None else t.numbers.plain(limit, decimals) for limit in (lowest, highest))
    if low is not None and high is not None:
        limits = t("quality.between", low=low, high=high)
    elif low is not None:
        limits = t("quality.at_least", low=low)
    else:
        limits = "" if high is None else t("quality.at_most", high=high)
    inside = None if value is None or not limits else name not in quality.failed
    shown = t("quality.not_measured") if value is None else t.numbers.plain(value, decimals)
    return Measure(t.named("measure", name), shown, limits, inside)


def chart(case: Case, t: Catalogue) -> Chart | None:
    """Draw the cohort with this person; None where the bundle says nothing of its cohort."""
    result, cohort = case.listed.run.result, case.cohort
    if result is None or cohort is None or not cohort.ages:
        return None
    age, found = result.brain_age.chronological_age, result.brain_age
    step = -(-len(cohort.ages) // MOST_POINTS)
    pairs = list(zip(cohort.ages, cohort.brain_ages, strict=True))[::step]
    return Chart(
        points=tuple((_across(years), _up(estimate)) for years, estimate in pairs),
        here=(None if age is None else _across(age.years), _up(found.estimate)),
        limits=(_up(found.interval.lower), _up(found.interval.upper)),
        ticks=tuple((_across(float(years)), str(years)) for years in range(20, 101, 20)),
        people=len(cohort.ages),
        position=_position(result, cohort, t),
    )


def _position(result: Result, cohort: ReferenceCohort, t: Catalogue) -> str | None:
    position = position_by_age(result, cohort)
    if position is None:
        return None
    return t("result.position", count=position[0], years=t.numbers.plain(WITHIN_YEARS, 1), share=position[1])


def _across(years: float) -> float:
    first, last = CHART_YEARS
    return round((min(max(years, first), last) - first) / (last - first) * CHART_SIDE, 1)


def _up(years: float) -> float:
    return round(CHART_SIDE - _across(years), 1)
