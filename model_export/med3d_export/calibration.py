"""What out-of-fold residuals say: age bias, conformal intervals and the coverage that they really have."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from med3d_export.subjects.folds import Fold
from med3d_pipeline.inference.latent_space import conformal_quantile

Floats = npt.NDArray[np.float64]
LEAST_IN_BAND = 20
"""Subjects below which an age band's coverage is not stated: its interval would span almost everything."""


def age_bias(ages_years: Floats, gaps_years: Floats) -> Floats:
    """Return intercept and slope (2,) of the gap's regression on age (Le et al., Front Aging Neurosci 2018)."""
    slope, intercept = np.polyfit(ages_years, gaps_years, 1)
    return np.array([intercept, slope])


def corrected_gaps(ages_years: Floats, gaps_years: Floats, folds: tuple[Fold, ...]) -> Floats:
    """Gaps (N,) with the bias taken out that the folds' training subjects show; no subject corrects itself.

    The training subjects' own gaps are out-of-fold, too: residuals of the fit itself have almost no bias left.
    """
    corrected = np.full_like(gaps_years, np.nan)
    for fold in folds:
        intercept, slope = age_bias(ages_years[fold.training], gaps_years[fold.training])
        corrected[fold.test] = gaps_years[fold.test] - intercept - slope * ages_years[fold.test]
    return corrected


@dataclass(frozen=True)
class Coverage:
    """Share of ``count`` subjects inside their interval, with its Clopper-Pearson interval at 95 %.

    level: what the intervals promise. half_width: of the interval that all residuals together give, in the label's
    unit; infinite where they are too few for the level.
    """

    level: float
    covered: float
    lower: float
    upper: float
    half_width: float
    count: int


def covered_by_other_folds(residuals: Floats, folds: tuple[Fold, ...], level: float) -> npt.NDArray[np.bool_]:
    """Tell whether each residual (N,) lies inside the half width of the other folds' residuals (cross-conformal)."""
    inside = np.zeros(len(residuals), dtype=bool)
    for fold in folds:
        inside[fold.test] = np.abs(residuals[fold.test]) <= conformal_quantile(residuals[fold.training], level)
    return inside


def measured_coverage(residuals: Floats, folds: tuple[Fold, ...], level: float) -> Coverage:
    """Return coverage of each fold's subjects under the half width that the other folds' residuals (N,) give."""
    return _coverage(covered_by_other_folds(residuals, folds, level), level, conformal_quantile(residuals, level))


def coverage_by_age(
    residuals: Floats, ages_years: Floats, folds: tuple[Fold, ...], level: float, edges_years: tuple[float, ...]
) -> dict[str, Coverage]:
    """Return the coverage of each age band between ``edges_years`` with at least LEAST_IN_BAND subjects, by name."""
    inside, width = covered_by_other_folds(residuals, folds, level), conformal_quantile(residuals, level)
    bands = {}
    for low, high in pairwise(edges_years):
        held = (ages_years >= low) & (ages_years < high)
        if held.sum() >= LEAST_IN_BAND:
            bands[f"{low:g} to {high:g}"] = _coverage(inside[held], level, width)
    return bands


def clopper_pearson(hits: int, count: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share (Biometrika 1934)."""
    lower = float(beta.ppf(0.025, hits, count - hits + 1)) if hits else 0.0
    upper = float(beta.ppf(0.975, hits + 1, count - hits)) if hits < count else 1.0
    return lower, upper


def _coverage(inside: npt.NDArray[np.bool_], level: float, half_width: float) -> Coverage:
    hits, count = int(inside.sum()), len(inside)
    lower, upper = clopper_pearson(hits, count)
    return Coverage(level, hits / count, lower, upper, half_width, count)
