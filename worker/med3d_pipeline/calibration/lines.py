"""A correction along a line, as much of it as the heads can bear out: ridge towards none at all.

The heads' noise decides against a stated prior of how far sites are off: offset ~ N(0, PRIOR_OFFSET_YEARS) and slope ~
N(0, PRIOR_SLOPE) about the bundle's own word (offset 0, slope 0). With noise of variance s^2, measured by leaving each
head out in turn, the posterior mean is a ridge in which that word weighs as much as (s / prior)^2 heads (Efron and
Morris, JASA 1973). Heads without noise are believed whole; few noisy ones change little.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PRIOR_OFFSET_YEARS = 5.0
"""Standard deviation. Two scanners that no bundle had learned from were off by +3.8 and -3.6 years."""
PRIOR_SLOPE = 0.3
"""Standard deviation: at an unknown site ages rise by 0.5 to 1 (and at times more) with each year of the estimate."""


@dataclass(frozen=True)
class Line:
    """What to add at x: offset + slope (x - centre); beyond ``lowest`` and ``highest`` it stays as it is there."""

    centre: float
    offset: float
    slope: float
    lowest: float
    highest: float

    def at(self, x: Floats) -> Floats:
        """Return the correction at each of ``x``."""
        return np.asarray(self.offset + self.slope * (np.clip(x, self.lowest, self.highest) - self.centre))


def fit_line(x: Floats, y: Floats, *, with_slope: bool) -> Line:
    """Fit ``y`` (n,) on ``x`` (n,), n of at least 4, as much of it as the prior and the noise allow; years."""
    far = x - x.mean()
    spread = float((far**2).sum())
    plain = float(far @ y) / spread if with_slope and spread > 0 else 0.0
    noise = _noise_variance(x, y, plain)
    offset_share = len(x) / (len(x) + noise / PRIOR_OFFSET_YEARS**2)
    slope_share = spread / (spread + noise / PRIOR_SLOPE**2) if spread > 0 else 0.0
    return Line(
        centre=float(x.mean()),
        offset=offset_share * float(y.mean()),
        slope=slope_share * plain,
        lowest=float(x.min()),
        highest=float(x.max()),
    )


def left_out_lines(x: Floats, y: Floats, *, with_slope: bool) -> tuple[Line, ...]:
    """Fit one line for each head from all others: no head speaks for itself."""
    others = [np.delete(np.arange(len(x)), place) for place in range(len(x))]
    return tuple(fit_line(x[rest], y[rest], with_slope=with_slope) for rest in others)


def _noise_variance(x: Floats, y: Floats, slope: float) -> float:
    """Return the mean squared error of heads left out, without shrinkage.

    In closed form: the residual without a head is the one with it, over 1 - the head's part in its own fitted value
    (Allen's PRESS, Technometrics 1974).
    """
    far = x - x.mean()
    spread = float((far**2).sum())
    own_part = np.full(len(x), 1 / len(x)) + (far**2 / spread if slope else 0.0)
    residuals = y - y.mean() - slope * far
    return float(np.square(residuals / (1 - own_part)).mean())
