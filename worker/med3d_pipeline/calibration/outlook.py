"""What more heads of the same kind would give: expected error and width of the interval, by drawing them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_pipeline.calibration.fitting import FittedSite
from med3d_pipeline.calibration.lines import fit_line, left_out_lines
from med3d_pipeline.inference.latent_space import conformal_quantile

Floats = npt.NDArray[np.float64]
COUNTS = (20, 50, 100)
DRAWS = 60
NEW_HEADS = 400
JITTER = 0.25
"""Share of a standard deviation that smooths what is drawn: no head comes twice exactly."""


@dataclass(frozen=True)
class Outlook:
    """With ``heads`` to calibrate on, in years: the mean error of new heads and the half width of the interval.

    error_low, error_high: the middle 80 % of what differing sets of heads gave.
    """

    heads: int
    mean_error_years: float
    error_low_years: float
    error_high_years: float
    half_width_years: float


def outlook(fitted: FittedSite, level: float, seed: int = 0) -> tuple[Outlook, ...]:
    """Draw sites of COUNTS heads from the one that was fitted, calibrate each, and try it on new heads of that site.

    The fitted line is taken for the truth, estimates and errors are drawn apart from one another. So it is as good as
    the fit: a guess where the site's heads are few, and silent about heads of another kind than they are.
    """
    rng = np.random.default_rng(seed)
    return tuple(_with(count, fitted, level, rng) for count in COUNTS)


def _with(count: int, fitted: FittedSite, level: float, rng: np.random.Generator) -> Outlook:
    draws = [_one_site(count, fitted, level, rng) for _ in range(DRAWS)]
    errors, widths = (np.array(column) for column in zip(*draws, strict=True))
    low, high = np.percentile(errors, [10, 90])
    return Outlook(count, float(errors.mean()), float(low), float(high), float(np.median(widths)))


def _one_site(count: int, fitted: FittedSite, level: float, rng: np.random.Generator) -> tuple[float, float]:
    with_slope = fitted.calibration.with_slope
    x, y = _drawn(count + NEW_HEADS, fitted, rng)
    own, own_y, new, new_y = x[:count], y[:count], x[count:], y[count:]
    line = fit_line(own, own_y, with_slope=with_slope)
    others = left_out_lines(own, own_y, with_slope=with_slope)
    residuals = np.array([value - float(other.at(at)) for at, value, other in zip(own, own_y, others, strict=True)])
    return float(np.abs(new_y - line.at(new)).mean()), conformal_quantile(residuals, level)


def _drawn(count: int, fitted: FittedSite, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return estimates (count,) and what is to be added to them for the age."""
    found = fitted.left_out
    errors = found.ages - found.brain_ages
    x = _smoothly(found.estimates, count, rng)
    truth = np.array([fitted.calibration.age.at(float(estimate)) for estimate in x])
    return x, truth + _smoothly(errors - errors.mean(), count, rng)


def _smoothly(values: Floats, count: int, rng: np.random.Generator) -> Floats:
    drawn = rng.choice(values, count) + JITTER * values.std() * rng.standard_normal(count)
    # Smoothing alone would widen the spread.
    return np.asarray(values.mean() + (drawn - values.mean()) / np.sqrt(1 + JITTER**2))
