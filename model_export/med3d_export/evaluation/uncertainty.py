"""What chance does to a figure: bootstrap over subjects, paired tests, and the difference that can be detected at all.

Subjects are the unit throughout. Where a subject was predicted with several seeds its errors are averaged first: seeds
are no further subjects, and counting them as such would narrow every interval. Nor are several scans of one person.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, permutation_test, wilcoxon

Floats = npt.NDArray[np.float64]
People = npt.NDArray[np.str_] | None
"""(N,) whose row each is; None: every row is another person's."""
DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.lower:.2f} to {self.upper:.2f})"


def bootstrap_table(
    statistic: Callable[[npt.NDArray[np.int64]], dict[str, float]], rows: int, seed: int, people: People = None
) -> dict[str, Interval]:
    """Return several figures of the same subjects with percentile bootstrap intervals; all of them see the same draws.

    ``statistic`` takes the row numbers of a draw, with repetitions. people (rows,): whose row each is; a person is
    drawn with all rows. None: every row is a person. (scipy's bootstrap wants one figure.)
    """
    draws = np.random.default_rng(seed)
    found = statistic(np.arange(rows))
    of_people = _rows_of(people, rows)
    drawn = []
    for _ in range(DRAWS):
        chosen = draws.integers(len(of_people), size=len(of_people))
        drawn.append(statistic(np.concatenate([of_people[person] for person in chosen])))
    table = {}
    for name, value in found.items():
        low, high = np.nanpercentile([one[name] for one in drawn], [2.5, 97.5])
        table[name] = Interval(value, float(low), float(high))
    return table


def _rows_of(people: People, rows: int) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each person, in the order in which they first occur."""
    if people is None:
        return list(np.arange(rows)[:, None])
    names = dict.fromkeys(people.tolist())
    return [np.flatnonzero(people == name) for name in names]


def mean_of_people(values: Floats, people: People) -> Floats:
    """Return one number a person, the mean of ``values`` (N,) over the person's rows; None: as they are."""
    return values if people is None else np.array([values[rows].mean() for rows in _rows_of(people, len(values))])


def bootstrap_interval(
    statistic: Callable[..., float], columns: tuple[npt.NDArray[Any], ...], seed: int, people: People = None
) -> Interval:
    """Return one figure of per-row columns, (N,) each, with its percentile bootstrap interval over subjects."""

    def of_draw(rows: npt.NDArray[np.int64]) -> dict[str, float]:
        return {"": float(statistic(*(column[rows] for column in columns)))}

    return bootstrap_table(of_draw, len(columns[0]), seed, people)[""]


@dataclass(frozen=True)
class PairedComparison:
    """One method against another on the same subjects; differences are first minus second, so negative favours it.

    wilcoxon_p: signed-rank test; permutation_p: sign flips of the mean difference; both two-sided. detectable: see
    ``detectable_difference``, of these very pairs.
    """

    subjects: int
    difference: Interval
    wilcoxon_p: float
    permutation_p: float
    detectable: float


def compare_paired(first: Floats, second: Floats, seed: int) -> PairedComparison:
    """Compare per-subject losses (N,), such as absolute errors averaged over seeds. Raises ValueError below 5 pairs."""
    differences = first - second
    if len(differences) < 5:
        raise ValueError(f"{len(differences)} pairs are too few for a paired comparison")
    same = bool(np.allclose(differences, 0.0))
    flips = permutation_test(
        (first, second), lambda one, other: float(np.mean(one - other)), permutation_type="samples", vectorized=False,
        n_resamples=DRAWS, rng=np.random.default_rng(seed),
    )  # fmt: skip
    return PairedComparison(
        subjects=len(differences),
        difference=bootstrap_interval(lambda d: float(np.mean(d)), (differences,), seed),
        wilcoxon_p=1.0 if same else float(wilcoxon(first, second).pvalue),
        permutation_p=float(flips.pvalue),
        detectable=detectable_difference(differences),
    )


def detectable_difference(differences: Floats, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest true mean difference that a two-sided paired test finds with this power, in the loss's unit.

    (z_{1 - alpha/2} + z_power) sd / sqrt(n), the normal approximation, from paired differences (N,) of a pilot.
    """
    quantiles = float(norm.ppf(1.0 - alpha / 2.0) + norm.ppf(power))
    return quantiles * float(np.std(differences, ddof=1)) / float(np.sqrt(len(differences)))


def subjects_needed(differences: Floats, wanted: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many subjects a mean difference ``wanted`` would take, by the spread of a pilot's differences (N,)."""
    quantiles = float(norm.ppf(1.0 - alpha / 2.0) + norm.ppf(power))
    return int(np.ceil((quantiles * float(np.std(differences, ddof=1)) / wanted) ** 2))
