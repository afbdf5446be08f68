"""What the gaps of a group tell: by person, so that who was scanned twice does not count twice."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from med3d_contract.results import Result

FEWEST_FOR_STATISTICS = 3
FEWEST_IN_A_GROUP = 2
MOST_GROUPS = 8
PERMUTATIONS = 9999
SEED = 20
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
        2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip
"""Student's t, two-sided 95 %, for 1 to 30 degrees of freedom."""


@dataclass(frozen=True)
class GapOfPerson:
    """Mean gap of a person's scans, age bias removed, in years, and the level of the variable that all of them have."""

    level: str
    gap_years: float


@dataclass(frozen=True)
class LevelGap:
    """People of one level: mean gap and the 95 % confidence interval of the mean, standard deviation, in years."""

    level: str
    people: int
    mean_years: float
    sd_years: float
    lower: float
    upper: float


@dataclass(frozen=True)
class GapByGroup:
    """Gaps by the levels of one variable. p: of a permutation test of equal means; None for a single level."""

    variable: str
    levels: tuple[LevelGap, ...]
    people: tuple[GapOfPerson, ...]
    p: float | None
    left_out: int

    @property
    def p_in_words(self) -> str:
        """As in ``p = 0.03``."""
        return "" if self.p is None else f"p = {self.p:.2g}"


def gaps_by_group(variable: str, scans: Sequence[tuple[str, str | None, Result]]) -> GapByGroup | None:
    """Compare gaps by a variable, from (person, level, result) of each scan.

    A person whose scans differ in it, or who has no level, is left out and counted. None where fewer than two levels
    have enough people, or there are too many levels to be groups.
    """
    gaps: dict[str, list[float]] = defaultdict(list)
    levels: dict[str, set[str | None]] = defaultdict(set)
    for person, level, result in scans:
        if result.brain_age.gap_corrected is not None:
            gaps[person].append(result.brain_age.gap_corrected.estimate)
            levels[person].add(level)
    people = [
        GapOfPerson(str(next(iter(levels[person]))), sum(found) / len(found))
        for person, found in gaps.items()
        if len(levels[person]) == 1 and None not in levels[person]
    ]
    by_level: dict[str, list[float]] = defaultdict(list)
    for one in people:
        by_level[one.level].append(one.gap_years)
    large = {level: found for level, found in sorted(by_level.items()) if len(found) >= FEWEST_IN_A_GROUP}
    if not FEWEST_IN_A_GROUP <= len(large) <= MOST_GROUPS:
        return None
    kept = tuple(one for one in people if one.level in large)
    rows = tuple(_level_gap(level, found) for level, found in large.items())
    return GapByGroup(variable, rows, kept, permutation_p(large), len(gaps) - len(kept))


def permutation_p(groups: Mapping[str, Sequence[float]]) -> float:
    """Return how often labels dealt at random part the means as far as the groups' own do (sum of squares between)."""
    values = np.concatenate([np.asarray(found, dtype=float) for found in groups.values()])
    ends = np.cumsum([len(found) for found in groups.values()])[:-1]

    def between(order: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        middle = order.mean()
        return float(sum(len(part) * (part.mean() - middle) ** 2 for part in np.split(order, ends)))

    rng = np.random.default_rng(SEED)
    seen = between(values) - 1e-9
    as_far = sum(between(rng.permutation(values)) >= seen for _ in range(PERMUTATIONS))
    return (as_far + 1) / (PERMUTATIONS + 1)


def _level_gap(level: str, found: Sequence[float]) -> LevelGap:
    mean = sum(found) / len(found)
    sd = math.sqrt(sum((one - mean) ** 2 for one in found) / (len(found) - 1))
    half = (T_95[len(found) - 2] if len(found) - 2 < len(T_95) else 1.96) * sd / math.sqrt(len(found))
    return LevelGap(level, len(found), mean, sd, mean - half, mean + half)


def accuracy(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return how near estimates come to ages; nothing where they are too few."""
    ages = [(known.years, one.brain_age) for one in results if (known := one.brain_age.chronological_age) is not None]
    if len(ages) < FEWEST_FOR_STATISTICS:
        return []
    gaps = [brain.estimate - years for years, brain in ages]
    inside = sum(brain.interval.lower <= years <= brain.interval.upper for years, brain in ages)
    return [
        ("scans with a number and an age", str(len(ages))),
        ("mean absolute gap", f"{sum(map(abs, gaps)) / len(gaps):.1f} years"),
        ("mean gap", f"{sum(gaps) / len(gaps):+.1f} years"),
        ("age inside the interval", f"{inside} of {len(ages)}"),
    ]
