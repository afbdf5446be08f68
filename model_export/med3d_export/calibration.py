"""What out-of-fold residuals say: age bias, conformal intervals and the coverage that they really have."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from med3d_export.folds import Fold
from med3d_pipeline.latent_space import conformal_quantile

Floats = npt.NDArray[np.float64]


def age_bias(ages_years: Floats, gaps_years: Floats) -> Floats:
    """Intercept and slope (2,) of the gap's regression on age (Le et al., Front Aging Neurosci 2018)."""
    slope, intercept = np.polyfit(ages_years, gaps_years, 1)
    return np.array([intercept, slope])


def corrected_gaps(ages_years: Floats, gaps_years: Floats, folds: tuple[Fold, ...]) -> Floats:
    """Gaps (N,) with the bias taken out that the other folds' subjects show; no subject corrects itself."""
    corrected = np.empty_like(gaps_years)
    for fold in folds:
        intercept, slope = age_bias(ages_years[fold.training], gaps_years[fold.training])
        corrected[fold.test] = gaps_years[fold.test] - intercept - slope * ages_years[fold.test]
    return corrected


@dataclass(frozen=True)
class Coverage:
    """Share of subjects inside their interval, with its Clopper-Pearson interval at 95 %."""

    level: float
    covered: float
    lower: float
    upper: float
    half_width_years: float


def measured_coverage(residuals: Floats, folds: tuple[Fold, ...], level: float) -> Coverage:
    """Coverage of each fold's subjects under the half width that the other folds' residuals give."""
    hits = 0
    for fold in folds:
        half_width = conformal_quantile(residuals[fold.training], level)
        hits += int((np.abs(residuals[fold.test]) <= half_width).sum())
    count = len(residuals)
    lower = float(beta.ppf(0.025, hits, count - hits + 1)) if hits else 0.0
    upper = float(beta.ppf(0.975, hits + 1, count - hits)) if hits < count else 1.0
    return Coverage(level, hits / count, lower, upper, conformal_quantile(residuals, level))
