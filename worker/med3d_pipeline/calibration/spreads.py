"""How far a site's healthy heads lie, as a distribution that twenty of them are enough for."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_STEPS = 4001


@dataclass(frozen=True)
class LogSpread:
    """Normal in the logarithm: ``centre`` and ``scale`` of log(value) as ``heads`` of the site have it.

    Twenty heads have no 98th percentile of their own. Under this form they have one that allows for how little twenty
    tell of centre and scale: the next head's place follows Student's t with ``heads`` - 1 degrees of freedom.
    """

    centre: float
    scale: float
    heads: int

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Measure ``values`` (n,), positive, n of at least 2."""
        logs = np.log(np.maximum(values, np.finfo(np.float64).tiny))
        return cls(float(logs.mean()), float(max(logs.std(ddof=1), 1e-6)), len(values))

    def percentile(self, value: float) -> float:
        """Return the share of healthy heads, in percent, that are expected below ``value``."""
        if value <= 0:
            return 0.0
        place = (math.log(value) - self.centre) / (self.scale * math.sqrt(1 + 1 / self.heads))
        return 100.0 * student_t_below(place, self.heads - 1)


def student_t_below(t: float, degrees: int) -> float:
    """Return the probability that Student's t of ``degrees`` of freedom lies below ``t``, to six decimals."""
    if degrees < 1:
        raise ValueError("Student's t needs at least one degree of freedom")
    # Integrated over the angle, in which the density is a power of a cosine and the range is finite.
    angles = np.linspace(0.0, math.atan(abs(t) / math.sqrt(degrees)), _STEPS)
    log_factor = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(math.pi)
    beyond_middle = math.exp(log_factor) * float(np.trapezoid(np.cos(angles) ** (degrees - 1), angles))
    return 0.5 + beyond_middle if t >= 0 else 0.5 - beyond_middle
