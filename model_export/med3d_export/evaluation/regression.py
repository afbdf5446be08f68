"""How well estimates agree with labels, averaged over repeats of the cross-validation."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RegressionMetrics:
    """mae and rmse in the label's unit; r: Pearson; r2: against the labels' mean; slope: of the gap on the label."""

    mae: float
    rmse: float
    r: float
    r2: float
    gap_slope: float


def regression_metrics(estimates: Floats, labels: Floats) -> RegressionMetrics:
    """Compute it of out-of-fold ``estimates`` (N,) or (R, N) for ``labels`` (N,): the mean over R repeats.

    Subjects that a repeat did not test are NaN and left out of it. r is 0 where the estimates do not vary.
    """
    found = np.array([_of_repeat(row, labels) for row in np.atleast_2d(estimates)])
    return RegressionMetrics(*(float(value) for value in np.nanmean(found, axis=0)))


def _of_repeat(estimates: Floats, labels: Floats) -> tuple[float, ...]:
    tested = np.isfinite(estimates)
    if tested.sum() < 2:
        return (np.nan,) * 5
    gaps, own = (estimates - labels)[tested], labels[tested]
    centred = own - own.mean()
    varied = estimates[tested] - estimates[tested].mean()
    total, spread = float(centred @ centred), float(varied @ varied)
    varies = spread > 1e-12 * total > 0
    return (
        float(np.abs(gaps).mean()),
        float(np.sqrt(np.mean(gaps**2))),
        float(varied @ centred) / float(np.sqrt(spread * total)) if varies else 0.0,
        1.0 - float(gaps @ gaps) / total if total > 0 else np.nan,
        float(gaps @ centred) / total if total > 0 else np.nan,
    )


def absolute_errors(estimates: Floats, labels: Floats) -> Floats:
    """Return per subject (N,), the mean over the repeats (repeats, N) that tested it; NaN where none did."""
    errors = np.abs(np.atleast_2d(estimates) - labels)
    tested = np.isfinite(errors)
    summed = np.where(tested, errors, 0.0).sum(axis=0)
    return np.where(tested.any(axis=0), summed / np.maximum(tested.sum(axis=0), 1), np.nan)
