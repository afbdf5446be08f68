"""Splits by subject, stratified by age and sex, fixed by seed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fold:
    """Row indices of one outer fold; no subject is in both."""

    training: Indices
    test: Indices


def age_strata(ages_years: npt.NDArray[np.float64], sexes: npt.NDArray[np.str_], folds: int) -> npt.NDArray[np.int64]:
    """A stratum (N,) per subject: age band by quantile, crossed with sex while every stratum fills each fold."""
    for bands in range(6, 0, -1):
        edges = np.quantile(ages_years, np.linspace(0, 1, bands + 1)[1:-1])
        band = np.digitize(ages_years, edges)
        for strata in (band * 2 + (sexes == "F"), band):
            if np.unique(strata, return_counts=True)[1].min() >= folds:
                return strata.astype(np.int64)
    raise ValueError(f"{len(ages_years)} subjects are too few for {folds} folds")


def outer_folds(
    ages_years: npt.NDArray[np.float64], sexes: npt.NDArray[np.str_], folds: int, seed: int
) -> tuple[Fold, ...]:
    """The outer folds of the cross-validation."""
    strata = age_strata(ages_years, sexes, folds)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return tuple(Fold(training, test) for training, test in splitter.split(strata, strata))
