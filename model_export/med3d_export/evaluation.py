"""The cross-validation's verdict: raw and bias-corrected errors, coverage, and the baselines on the same folds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_export.baselines import mean_age, voxel_kernel_ridge
from med3d_export.calibration import Coverage, corrected_gaps, measured_coverage
from med3d_export.config import EvaluationConfig
from med3d_export.cross_validation import OutOfFold
from med3d_export.folds import Fold
from med3d_export.metrics import RegressionMetrics, named, regression_metrics
from med3d_export.training import Tensors

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """brain_age: raw. corrected: age bias taken out by the other folds, which uses the true age, so not comparable.

    sdmt: against simulated scores. reconstruction: median over heads of squared error over that of the mean head.
    """

    brain_age: RegressionMetrics
    corrected: RegressionMetrics
    sdmt: RegressionMetrics
    coverage: Coverage
    mean_only: RegressionMetrics
    untrained: RegressionMetrics
    voxels: RegressionMetrics
    reconstruction: float

    def metrics(self) -> dict[str, float]:
        """Flat, for the manifest."""
        coverage = self.coverage
        return {
            **named("brain_age", self.brain_age),
            **named("brain_age_corrected", self.corrected),
            **named("baseline_mean_only", self.mean_only),
            **named("baseline_untrained_start", self.untrained),
            **named("baseline_voxel_kernel_ridge", self.voxels),
            **named("sdmt_simulated", self.sdmt),
            "coverage": round(coverage.covered, 4),
            "coverage_lower_95": round(coverage.lower, 4),
            "coverage_upper_95": round(coverage.upper, 4),
            "coverage_level": coverage.level,
            "interval_half_width_years": round(coverage.half_width_years, 3),
            "reconstruction_error_share": round(self.reconstruction, 4),
        }


def evaluate(
    tensors: Tensors,
    ages_years: Floats,
    sdmt: Floats,
    out_of_fold: OutOfFold,
    folds: tuple[Fold, ...],
    config: EvaluationConfig,
    seed: int,
) -> Evaluation:
    """Score out-of-fold estimates, (N,) each in the cohort's order."""
    gaps = out_of_fold.age_estimates - ages_years
    voxels = voxel_kernel_ridge(tensors, ages_years, folds, config.inner_folds, seed)
    return Evaluation(
        brain_age=regression_metrics(out_of_fold.age_estimates, ages_years),
        corrected=regression_metrics(ages_years + corrected_gaps(ages_years, gaps, folds), ages_years),
        sdmt=regression_metrics(out_of_fold.sdmt_estimates, sdmt),
        coverage=measured_coverage(gaps, folds, config.interval_level),
        mean_only=regression_metrics(mean_age(ages_years, folds), ages_years),
        untrained=regression_metrics(out_of_fold.start_estimates, ages_years),
        voxels=regression_metrics(voxels, ages_years),
        reconstruction=float(np.median(out_of_fold.reconstruction_errors)),
    )
