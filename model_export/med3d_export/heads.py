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


@dataclass(frozen=True)
class HeadSearch:
    """The head that did best and its mean absolute error over the inner folds, in the label's unit."""

    head: Pipeline
    inner_error: float


def search_space(dimension: int, kernels: tuple[Kernel, ...] = KERNELS) -> list[dict[str, list[object]]]:
    """Of each kernel; gamma in multiples of 1 / d, the scale of squared distances of standardised latents."""
    gammas = [factor / dimension for factor in (0.03, 0.1, 0.3, 1.0)]
    by_kernel: dict[Kernel, dict[str, list[object]]] = {
        "linear": {"svr__kernel": ["linear"], "svr__C": [cost / 10 for cost in _COSTS]},
        "rbf": {"svr__kernel": ["rbf"], "svr__C": [cost * 100 for cost in _COSTS[2:]], "svr__gamma": list(gammas)},
    }
    return [by_kernel[kernel] for kernel in kernels]


def inner_splits(
    labels: Labels, groups: Groups | None, folds: int, seed: int
) -> list[tuple[npt.NDArray[np.int64], ...]]:
    """Training and test rows of each inner fold; all rows of one group (subject) lie in the same fold."""
    of_rows = np.arange(len(labels)) if groups is None else groups
    splitter = GroupKFold(min(folds, len(np.unique(of_rows))), shuffle=True, random_state=seed)
    return [tuple(split) for split in splitter.split(labels, labels, of_rows)]


@dataclass(frozen=True, eq=False)
class LabelledLatents:
    """What a head learns from: latents (M, d), values (M,) and groups (M,), which say whose row each is."""

    latents: Latents
    values: Labels
    groups: Groups

    @classmethod
    def of(cls, latents: Latents, copies: Latents, values: Labels, groups: Groups) -> Self:
        """``latents`` (N, d) and varied ``copies`` (C, N, d) of the same rows, which keep their values and groups."""
        rows = np.tile(np.arange(len(values)), len(copies) + 1)
        return cls(np.concatenate([latents, *copies]), values[rows], groups[rows])


def search_head(
    given: LabelledLatents, inner_folds: int, seed: int, kernels: tuple[Kernel, ...] = KERNELS
) -> HeadSearch:
    """The head with the lowest mean absolute error over the inner folds, fitted to all rows.

    The tube's half width is a hundredth of the labels' standard deviation: with a hundred subjects all should count.
    All rows of a subject lie in the same inner fold. Every objective and the voxel baseline go through this same
    search.
    """
    tube = 0.01 * float(given.values.std())
    pipeline = Pipeline([("scaler", StandardScaler()), ("svr", SVR(epsilon=tube, cache_size=100))])
    search = GridSearchCV(
        pipeline,
        search_space(given.latents.shape[1], kernels),
        scoring="neg_mean_absolute_error",
        cv=inner_splits(given.values, given.groups, inner_folds, seed),
    )
    search.fit(given.latents, given.values)
    return HeadSearch(search.best_estimator_, -float(search.best_score_))


def without_support_vectors(head: Pipeline) -> Pipeline:
    """The same head as scaler and weights alone: support vectors are latents of training subjects.

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
