"""Two measurements of the same people: how far apart, and how far from the truth. Plain formulas, in plain Python."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, median, stdev

from pydantic import Field

from med3d_contract.results import Frozen

NORMAL_95 = NormalDist().inv_cdf(0.975)
Pair = tuple[float, float]


class Mean95(Frozen):
    """A mean with its 95 % interval (normal approximation; None for fewer than two)."""

    mean: float
    lower: float | None
    upper: float | None


class Agreement(Frozen):
    """Paired differences, second minus first (Bland and Altman, Lancet 1986;327:307-310).

    limits_of_agreement: mean -/+ 1.96 standard deviations. slope: of the difference on the pair's mean, by least
    squares; far from 0 the shift depends on the value itself.
    """

    pairs: int
    shift: Mean95
    sd: float
    median: float
    limits_of_agreement: tuple[float, float]
    slope: float | None
    correlation: float | None
    largest: float = Field(description="absolute")


class Accuracy(Frozen):
    """Estimates against what was measured, for both bundles on the same people. Errors: estimate minus measured.

    mae_change: mean absolute error of the second minus that of the first; below 0 the second is better.
    """

    people: int
    mae: tuple[float, float]
    mae_change: Mean95
    bias: tuple[float, float]
    correlation: tuple[float | None, float | None]


def mean_95(values: Sequence[float]) -> Mean95:
    """Return the mean of at least one value."""
    mean = fmean(values)
    if len(values) < 2:
        return Mean95(mean=mean, lower=None, upper=None)
    half = NORMAL_95 * stdev(values, mean) / math.sqrt(len(values))
    return Mean95(mean=mean, lower=mean - half, upper=mean + half)


def agreement(pairs: Sequence[Pair]) -> Agreement | None:
    """Tell how far apart the two of each pair are; None for fewer than two pairs."""
    if len(pairs) < 2:
        return None
    differences = [second - first for first, second in pairs]
    means = [(first + second) / 2 for first, second in pairs]
    mean, sd = fmean(differences), stdev(differences)
    return Agreement(
        pairs=len(pairs),
        shift=mean_95(differences),
        sd=sd,
        median=median(differences),
        limits_of_agreement=(mean - NORMAL_95 * sd, mean + NORMAL_95 * sd),
        slope=slope(means, differences),
        correlation=correlation([first for first, _ in pairs], [second for _, second in pairs]),
        largest=max(map(abs, differences)),
    )


def accuracy(measured: Sequence[tuple[float, float, float]]) -> Accuracy | None:
    """Return those of (measured, first estimate, second estimate); None where nobody was measured."""
    if not measured:
        return None
    truth = [true for true, _, _ in measured]
    first, second = ([row[place] - row[0] for row in measured] for place in (1, 2))
    return Accuracy(
        people=len(measured),
        mae=(fmean(map(abs, first)), fmean(map(abs, second))),
        mae_change=mean_95([abs(b) - abs(a) for a, b in zip(first, second, strict=True)]),
        bias=(fmean(first), fmean(second)),
        correlation=(
            correlation(truth, [row[1] for row in measured]),
            correlation(truth, [row[2] for row in measured]),
        ),
    )


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Pearson's r; None where one of them does not vary."""
    across, up = _deviations(first), _deviations(second)
    spread = math.sqrt(math.fsum(x * x for x in across) * math.fsum(y * y for y in up))
    if spread <= 1e-12 * max(1.0, abs(fmean(first)) * abs(fmean(second)) * len(first)):
        return None
    return max(-1.0, min(1.0, math.fsum(x * y for x, y in zip(across, up, strict=True)) / spread))


def slope(across: Sequence[float], up: Sequence[float]) -> float | None:
    """Return slope and intercept of the least-squares line of ``up`` on ``across``.

    None where ``across`` does not vary.
    """
    x, y = _deviations(across), _deviations(up)
    spread = math.fsum(value * value for value in x)
    if spread <= 1e-12:
        return None
    return math.fsum(a * b for a, b in zip(x, y, strict=True)) / spread


def _deviations(values: Sequence[float]) -> list[float]:
    mean = fmean(values)
    return [value - mean for value in values]
