"""A frame with axes in which pages draw: places in a box, whose colours are the stylesheet's."""

from collections.abc import Sequence
from dataclasses import dataclass

from med3d_service.cohorts.charts.svg import nice_ticks

WIDTH, HEIGHT = 560.0, 280.0
Tick = tuple[float, float]
"""A place, and the value there."""


@dataclass(frozen=True)
class Plot:
    """A frame of ``width`` by ``height`` whose sides are these values."""

    across: tuple[float, float]
    up: tuple[float, float]
    width: float = WIDTH
    height: float = HEIGHT

    def x(self, value: float) -> float:
        """Return how far to the right a value lies; one beyond the frame lies on its side."""
        return round(_share(value, self.across) * self.width, 1)

    def y(self, value: float) -> float:
        """Return how far below the top a value lies."""
        return round((1 - _share(value, self.up)) * self.height, 1)

    @property
    def x_ticks(self) -> list[Tick]:
        """Round values along the lower side, with their places."""
        return [(self.x(value), value) for value in nice_ticks(*self.across)]

    @property
    def y_ticks(self) -> list[Tick]:
        """Round values along the left side, with their places."""
        return [(self.y(value), value) for value in nice_ticks(*self.up, count=5)]

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Write a line through points as SVG's path."""
        return "M" + " L".join(f"{self.x(x)} {self.y(y)}" for x, y in points)


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max((value - low) / (high - low), 0.0), 1.0)
