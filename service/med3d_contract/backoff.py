"""Pauses between tries of what failed: they double, up to a longest one."""

import random
from dataclasses import dataclass

_MOST_DOUBLINGS = 30  # a float holds no more than about a thousand, and a child may die more often than that


@dataclass(frozen=True)
class Backoff:
    """The pause after the first failure, and the longest one."""

    first_s: float
    longest_s: float

    def pause_s(self, failures: int) -> float:
        """Return seconds to wait after ``failures`` in a row, 1 or more."""
        return min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))

    def jittered_s(self, failures: int) -> float:
        """Return seconds to wait, drawn from the upper half of the pause: many callers must not come back at once."""
        return random.uniform(0.5, 1.0) * self.pause_s(failures)  # noqa: S311 - jitter is no secret
