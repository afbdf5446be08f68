"""StandardScaler and support vector regression on latents, the kernel chosen by inner cross-validation by subject."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

Latents = npt.NDArray[np.floating]
Labels = npt.NDArray[np.float64]
Groups = npt.NDArray[np.str_] | npt.NDArray[np.int64]
Kernel = Literal["linear", "rbf"]
KERNELS: tuple[Kernel, ...] = ("linear", "rbf")

# Per label: half widths of the tube and costs in the label's own unit, so that years and points are searched alike.
_COSTS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_LINEAR_COSTS = tuple(cost / 10 for cost in _COSTS)
LEAST_SPREAD = 1e-6
"""A number that no training head varied in counts for nothing; dividing by nothing would make it not a number."""


@dataclass(frozen=True)
class HeadSearch:
    """The head that did best and its mean absolute error over the inner folds, in the label's unit.

    age_code_share: how much of the estimate the age networks tell, from 0 to 1.
    """

    head: Pipeline
    inner_error: float
    age_code_share: float = 0.0


class CodeScaler(StandardScaler):
    """Standardises, then multiplies each number by its spread, and those after the first ``whole_codes`` by a weight.

    Hundreds of numbers that each speak of one cube would drown those that speak of the whole head where a label is
    spread over all of it, and are what counts where it is not. spreads (d,): whitened numbers all look alike; these say
    which of them heads really differ in. None: all alike. differences (K, d): between varied copies and their heads;
    copy_variance: what they count, see ``steady_metric``. None or 0: the metric is as it is.
    """

    def __init__(
        self,
        whole_codes: int = 0,
        local_weight: float = 1.0,
        spreads: Labels | None = None,
        differences: Latents | None = None,
        copy_variance: float = 0.0,
    ) -> None:
        super().__init__()
        self.whole_codes, self.local_weight, self.spreads = whole_codes, local_weight, spreads
        self.differences, self.copy_variance = differences, copy_variance

    def fit(self, latents: Latents, values: object = None, sample_weight: object = None) -> Self:
        """Take means and deviations."""
        super().fit(latents, values, sample_weight)
        if self.spreads is not None:
            self.scale_ /= np.maximum(self.spreads, LEAST_SPREAD)
        if self.whole_codes:
            self.scale_[self.whole_codes :] /= self.local_weight
        self.metric_ = None
        if self.differences is not None and self.copy_variance:
            scaled = self.differences / self.scale_
            self.metric_ = steady_metric(super().transform(latents), scaled, self.copy_variance)
        return self

    def transform(self, latents: Latents, copy: bool | None = None) -> Latents:
        """Scale (N, d), then turn what scanners change smaller."""
        scaled: Latents = super().transform(latents, copy)
        return scaled if self.metric_ is None else scaled @ self.metric_

    def plain(self) -> StandardScaler:
        """Return the same without the metric as a StandardScaler, which every reader knows."""
        scaler = StandardScaler()
        names = ("mean_", "var_", "scale_", "n_features_in_", "n_samples_seen_")
        scaler.__dict__.update({name: getattr(self, name) for name in names})
        return scaler


def steady_metric(heads: Latents, differences: Latents, copy_variance: float) -> Labels:
    """Return the matrix (d, d) that shrinks the directions in which copies of one head lie apart.

    Within-class covariance normalisation (Hatch et al., "Within-class covariance normalization for SVM-based speaker
    recognition", Interspeech 2006) of a head and its varied copies: W = differences' differences / K, and the metric is
    (1 + c W / v)^-1/2 with c the ``copy_variance`` and v the mean variance of the ``heads`` (N, d).
    """
    within = differences.T @ differences / len(differences)
    variances, directions = np.linalg.eigh(within)
    shrunk = 1.0 / np.sqrt(1.0 + copy_variance * np.maximum(variances, 0.0) / heads.var(axis=0, ddof=1).mean())
    metric: Labels = (directions * shrunk) @ directions.T
    return metric


@dataclass(frozen=True)
class HeadSpace:
    """What the search may choose from. whole_codes: see CodeScaler; 0: all latents weigh alike.

    copy_variance: see CodeScaler; other than 0 for the linear kernel alone.

    costs: of the linear kernel, in the label's unit; one cost and one weight leave nothing to choose. An encoder whose
    latents are whitened puts its own training heads at the same distance from each other, and a search among them
    would choose by noise: then both are fixed by the recipe.
    """

    kernels: tuple[Kernel, ...] = KERNELS
    whole_codes: int = 0
    local_weights: tuple[float, ...] = (1.0, 0.3, 0.1)
    costs: tuple[float, ...] = _LINEAR_COSTS
    copy_variance: float = 0.0

    def __post_init__(self) -> None:
        if self.copy_variance and self.kernels != ("linear",):
            raise ValueError("a metric of copies is for the linear kernel alone: set head_kernels to linear")

    def grid(self, dimension: int) -> list[dict[str, list[object]]]:
        """Return the weights of each kernel.

        Gamma in multiples of 1 / d, the scale of squared distances of standardised latents.
        """
        gammas = [factor / dimension for factor in (0.03, 0.1, 0.3, 1.0)]
        by_kernel: dict[Kernel, dict[str, list[object]]] = {
            "linear": {"svr__kernel": ["linear"], "svr__C": list(self.costs)},
            "rbf": {"svr__kernel": ["rbf"], "svr__C": [cost * 100 for cost in _COSTS[2:]], "svr__gamma": list(gammas)},
        }
        weights: dict[str, list[object]] = (
            {"scaler__local_weight": list(self.local_weights)} if self.whole_codes else {}
        )
        return [by_kernel[kernel] | weights for kernel in self.kernels]


ANY_HEAD = HeadSpace()


def inner_splits(
    labels: Labels, groups: Groups | None, folds: int, seed: int
) -> list[tuple[npt.NDArray[np.int64], ...]]:
    """Return training and test rows of each inner fold; all rows of one group (subject) lie in the same fold."""
    of_rows = np.arange(len(labels)) if groups is None else groups
    splitter = GroupKFold(min(folds, len(np.unique(of_rows))), shuffle=True, random_state=seed)
    return [tuple(split) for split in splitter.split(labels, labels, of_rows)]


@dataclass(frozen=True, eq=False)
class LabelledLatents:
    """What a head learns from: latents (M, d), values (M,), groups (M,), which say whose row each is, weights (M,).

    A true head weighs 1; a varied copy less: it says that a scanner does not change an age, and should not outvote what
    the scanner at hand shows. None: all are true heads, and no sum is weighted. spreads (d,), differences (K, d): see
    CodeScaler.
    """

    latents: Latents
    values: Labels
    groups: Groups
    weights: Labels | None = None
    spreads: Labels | None = None
    differences: Latents | None = None

    @classmethod
    def of(
        cls, latents: Latents, copies: Latents, values: Labels, groups: Groups, copy_weight: float = 1.0,
        spreads: Labels | None = None,
    ) -> Self:  # fmt: skip
        """Return ``latents`` (N, d) and varied ``copies`` (C, N, d) of the same rows with their values and groups.

        copy_weight 0: the copies tell how scanners change a head, and are no rows to learn from.
        """
        differences = (copies - latents).reshape(-1, latents.shape[1]) if len(copies) else None
        if not len(copies) or not copy_weight:
            return cls(latents, values, groups, spreads=spreads, differences=differences)
        rows = np.tile(np.arange(len(values)), len(copies) + 1)
        weights = np.where(np.arange(len(rows)) < len(values), 1.0, copy_weight)
        return cls(np.concatenate([latents, *copies]), values[rows], groups[rows], weights, spreads, differences)


def search_head(given: LabelledLatents, inner_folds: int, seed: int, space: HeadSpace = ANY_HEAD) -> HeadSearch:
    """Return the head with the lowest mean absolute error over the inner folds, fitted to all rows.

    The tube's half width is a hundredth of the labels' standard deviation: with a hundred subjects all should count.
    All rows of a subject lie in the same inner fold; the error is that of true heads. Every objective and
    the voxel baseline go through this same search.
    """
    tube = 0.01 * float(given.values.std())
    scaler = CodeScaler(
        space.whole_codes, spreads=given.spreads, differences=given.differences, copy_variance=space.copy_variance
    )
    pipeline = Pipeline([("scaler", scaler), ("svr", SVR(epsilon=tube, cache_size=100))])
    search = GridSearchCV(
        pipeline,
        space.grid(given.latents.shape[1]),
        scoring="neg_mean_absolute_error",
        cv=_judged_by_true_heads(inner_splits(given.values, given.groups, inner_folds, seed), given.weights),
    )
    search.fit(given.latents, given.values, scaler__sample_weight=given.weights, svr__sample_weight=given.weights)
    scaler, machine = search.best_estimator_.named_steps["scaler"], search.best_estimator_.named_steps["svr"]
    if scaler.metric_ is not None:
        # The metric is symmetric, so that a support vector may carry it in place of what is asked about.
        machine.support_vectors_ = machine.support_vectors_ @ scaler.metric_
    return HeadSearch(Pipeline([("scaler", scaler.plain()), ("svr", machine)]), -float(search.best_score_))


def _judged_by_true_heads(
    splits: list[tuple[npt.NDArray[np.int64], ...]], weights: Labels | None
) -> list[tuple[npt.NDArray[np.int64], ...]]:
    """Return the same splits without varied copies among those that are tested."""
    if weights is None:
        return splits
    return [(training, test[weights[test] == weights.max()]) for training, test in splits]


def without_support_vectors(head: Pipeline) -> Pipeline:
    """Return the same head as scaler and weights alone: support vectors are latents of training subjects.

    Raises ValueError where the kernel is not linear.
    """
    machine = head.named_steps["svr"]
    if machine.kernel != "linear":
        raise ValueError(f"a head with the kernel {machine.kernel} cannot do without its support vectors")
    line = LinearRegression()
    line.coef_, line.intercept_, line.n_features_in_ = (
        machine.coef_[0],
        float(machine.intercept_[0]),
        machine.n_features_in_,
    )
    return Pipeline([("scaler", head.named_steps["scaler"]), ("line", line)])
