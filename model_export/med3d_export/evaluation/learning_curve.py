"""How the error falls with the number of training heads: whether more heads would help, and by how much."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_export.evaluation.held_out import HeldOut
from med3d_export.evaluation.regression import absolute_errors
from med3d_export.evaluation.scores import RegressionScores, regression_scores
from med3d_export.evaluation.uncertainty import Interval, People, bootstrap_table
from med3d_export.subjects.labels import Labels

Floats = npt.NDArray[np.float64]
EVERYONE = "everyone"
FEWEST_IN_A_GROUP = 10


@dataclass(frozen=True)
class LearningPoint:
    """Scores of the held-out heads by group where each fold trained on ``training_heads``."""

    training_heads: int
    groups: dict[str, RegressionScores]


@dataclass(frozen=True)
class LearningCurve:
    """Points in rising order. gain: years by which the error falls at each doubling of the training heads."""

    points: tuple[LearningPoint, ...]
    gain: Interval

    @property
    def late_gain(self) -> float | None:
        """The same of the points of at least half the most heads: where a curve is flat, what a few gained says little.

        None where there is but one such point.
        """
        most = self.points[-1].training_heads
        late = [one for one in self.points if 2 * one.training_heads > most]
        if len(late) < 2:
            return None
        errors = [one.groups[EVERYONE].mae.value for one in late]
        return -float(np.polyfit(np.log2([one.training_heads for one in late]), errors, 1)[0])


def learning_curve(by_heads: Mapping[int, HeldOut], labels: Labels, seed: int) -> LearningCurve:
    """Score the same subjects' estimates by the number of training heads. Raises ValueError below two numbers."""
    if len(by_heads) < 2:
        raise ValueError("a curve needs at least two numbers of training heads")
    groups = groups_of(labels)
    rising = sorted(by_heads)
    points = tuple(
        LearningPoint(
            heads,
            {
                name: regression_scores(
                    np.where(own, by_heads[heads].age, np.nan), labels.ages_years, seed, labels.subjects
                )
                for name, own in groups.items()
            },
        )
        for heads in rising
    )
    errors = [absolute_errors(by_heads[heads].age, labels.ages_years) for heads in rising]
    return LearningCurve(points, gain_at_doubling(np.array(rising), np.array(errors), seed, labels.subjects))


def groups_of(labels: Labels) -> dict[str, npt.NDArray[np.bool_]]:
    """Return rows (N,) of everyone, women, men, and of each site where there are several; tiny groups are left out."""
    groups = {EVERYONE: np.ones(len(labels), dtype=bool), "women": labels.sexes == "F", "men": labels.sexes == "M"}
    sites = np.unique(labels.sites)
    if len(sites) > 1:
        groups |= {str(site): labels.sites == site for site in sites}
    return {name: own for name, own in groups.items() if own.sum() >= FEWEST_IN_A_GROUP}


def gain_at_doubling(heads: npt.NDArray[np.int64], errors: Floats, seed: int, people: People = None) -> Interval:
    """Return minus the slope of the mean error on log2 of the training heads, by least squares.

    heads: (K,). errors: (K, N) absolute errors in years of N subjects, NaN where not tested. The interval is over
    subjects.
    """
    tested = np.isfinite(errors).all(axis=0)
    kept, own = errors[:, tested], None if people is None else people[tested]

    def statistic(drawn: npt.NDArray[np.int64]) -> dict[str, float]:
        return {"gain": -float(np.polyfit(np.log2(heads), kept[:, drawn].mean(axis=1), 1)[0])}

    return bootstrap_table(statistic, kept.shape[1], seed, own)["gain"]
