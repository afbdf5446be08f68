"""Small charts as SVG, to stand in a page by themselves: points, a histogram, lines over time."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

INK, FAINT, BLUE, RED, GREY = "#1d2733", "#66727f", "#2b6ca3", "#c8102e", "#9fb3c8"
WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 46
MOST_POINTS = 1500
"""Above, points are gathered in cells: ten thousand circles say no more, and take a browser seconds."""
CELLS = 48
Point = tuple[float, float]
Range = tuple[float, float]


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``, about ``count`` of them (steps of 1, 2 or 5)."""
    span = max(high - low, 1e-9)
    raw = span / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if raw <= magnitude * factor)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def padded(values: Sequence[float], least: float = 1.0) -> Range:
    """Return the range of ``values`` with some room on both sides; at least ``least`` wide."""
    low, high = min(values), max(values)
    room = 0.06 * max(high - low, least)
    return low - room, high + room


@dataclass(frozen=True)
class Mark:
    """A point that leads somewhere. said: what is shown over it. name, levels (JSON): for a page's script."""

    at: Point
    colour: str
    address: str
    said: str
    name: str = ""
    levels: str = "{}"


@dataclass
class Chart:
    """A frame with axes in the units of the values; what is drawn is clipped to it.

    names: of the places 0, 1, ... on the horizontal axis, in place of numbers.
    """

    x_range: Range
    y_range: Range
    x_label: str
    y_label: str
    parts: list[str] = field(default_factory=list)
    names: Sequence[str] = ()

    def at(self, point: Point) -> Point:
        """Return the place of a pair of values."""
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        across = (point[0] - x0) / (x1 - x0)
        up = (point[1] - y0) / (y1 - y0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def points(self, points: Sequence[Point], colour: str = BLUE) -> None:
        """Draw a dot for each point; of many, cells as dark as they are full."""
        if len(points) > MOST_POINTS:
            self._cells(points, colour)
            return
        for point in points:
            x, y = self.at(point)
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}" fill-opacity="0.55"/>')

    def mark(self, mark: Mark) -> None:
        """Draw a dot that is a link, with words for who points at it."""
        x, y = self.at(mark.at)
        told = f'data-name="{escape(mark.name)}" data-levels="{escape(mark.levels)}"'
        self.parts.append(
            f'<a href="{escape(mark.address)}" class="mark" {told}><title>{escape(mark.said)}</title>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{mark.colour}" fill-opacity="0.8"/></a>'
        )

    def line(self, points: Sequence[Point], colour: str = INK, *, dashed: bool = False, width: float = 1.2) -> None:
        """Draw a line through points."""
        path = " ".join("{:.1f},{:.1f}".format(*self.at(point)) for point in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>')

    def level(self, y: float, label: str, colour: str = INK, *, dashed: bool = False) -> None:
        """Draw a horizontal line with its label above its right end."""
        self.line([(self.x_range[0], y), (self.x_range[1], y)], colour, dashed=dashed)
        _, place = self.at((0, y))
        self.parts.append(_text(WIDTH - RIGHT - 4, place - 4, label, "end", colour))

    def bar(self, left: float, right: float, top: float, colour: str = BLUE) -> None:
        """Draw a bar from 0 to ``top``."""
        (x0, y0), (x1, y1) = self.at((left, 0)), self.at((right, top))
        size = f'width="{max(x1 - x0 - 1, 0.5):.1f}" height="{max(y0 - y1, 0):.1f}"'
        self.parts.append(f'<rect x="{x0:.1f}" y="{y1:.1f}" {size} fill="{colour}" fill-opacity="0.75"/>')

    def whisker(self, x: float, low: float, high: float, colour: str = BLUE) -> None:
        """Draw an interval."""
        self.line([(x, low), (x, high)], colour, width=1.6)

    def label(self, point: Point, text: str, colour: str = INK) -> None:
        """Put words beside a point, on the side where there is room."""
        x, y = self.at(point)
        left_half = x < (LEFT + WIDTH - RIGHT) / 2
        self.parts.append(_text(x + (5 if left_half else -5), y - 5, text, "start" if left_half else "end", colour))

    def svg(self, description: str) -> str:
        """Return the whole picture; ``description`` is for those who cannot see it."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        )
        frame = f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
        return "".join(
            (
                f'{head} role="img" font-family="Helvetica, Arial, sans-serif" font-size="11">',
                f"<title>{escape(description)}</title>",
                f'<clipPath id="frame"><rect {frame}/></clipPath>',
                *self._axes(),
                f'<g clip-path="url(#frame)">{"".join(self.parts)}</g>',
                f'<rect {frame} fill="none" stroke="{FAINT}"/></svg>',
            )
        )

    def _cells(self, points: Sequence[Point], colour: str) -> None:
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        wide, high = (x1 - x0) / CELLS, (y1 - y0) / CELLS
        counts = Counter((int((x - x0) / wide), int((y - y0) / high)) for x, y in points)
        fullest = max(counts.values())
        for (column, row), count in sorted(counts.items()):
            left, bottom = self.at((x0 + column * wide, y0 + row * high))
            right, top = self.at((x0 + (column + 1) * wide, y0 + (row + 1) * high))
            dark = 0.12 + 0.88 * math.sqrt(count / fullest)
            size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
            self.parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{colour}" fill-opacity="{dark:.2f}"/>')

    def _axes(self) -> list[str]:
        drawn = []
        for place, name in enumerate(self.names):
            x, y = self.at((place, self.y_range[0]))
            drawn.append(_text(x, y + 16, name, "middle"))
        for tick in [] if self.names else nice_ticks(*self.x_range):
            x, y = self.at((tick, self.y_range[0]))
            drawn.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{y + 4:.1f}" stroke="{FAINT}"/>')
            drawn.append(_text(x, y + 16, f"{tick:g}", "middle"))
        for tick in nice_ticks(*self.y_range):
            x, y = self.at((self.x_range[0], tick))
            drawn.append(f'<line x1="{x - 4:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>')
            drawn.append(_text(x - 7, y + 4, f"{tick:g}", "end"))
        middle = (LEFT + WIDTH - RIGHT) / 2
        drawn.append(_text(middle, HEIGHT - 10, self.x_label, "middle"))
        up = (TOP + HEIGHT - BOTTOM) / 2
        drawn.append(f'<g transform="rotate(-90 14 {up:.0f})">{_text(14, up, self.y_label, "middle")}</g>')
        return drawn


def _text(x: float, y: float, words: str, anchor: str, colour: str = INK) -> str:
    # A white rim keeps words readable on top of points and lines.
    rim = 'stroke="#fff" stroke-width="3" paint-order="stroke"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" {rim}>{escape(words)}</text>'
