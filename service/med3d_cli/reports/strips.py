"""Where one value lies among others, drawn as a strip: limits, the usual range, the value."""

from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from med3d_service.cohorts.charts.svg import BLUE, FAINT, GREY, RED

WIDTH, HEIGHT = 300, 34
EDGE = 8
MIDDLE = 13
SHADE = "#fbe3e6"
Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Usual:
    """Quantiles of a measure among heads that are known to be good: the 5th, 25th, 50th, 75th and 95th percent."""

    quantiles: tuple[float, float, float, float, float]


def strip(name: str, value: float | None, limits: Bounds, usual: Usual | None) -> Markup:
    """Draw a measure: what the model's limits exclude in red, the usual range as a box, the value as a line."""
    known = [one for one in (value, *limits, *(usual.quantiles if usual else ())) if one is not None]
    low, high = _span(known)

    def at(one: float) -> float:
        return EDGE + (min(max(one, low), high) - low) / (high - low) * (WIDTH - 2 * EDGE)

    parts = [f"<title>{escape(_said(name, value, limits, usual))}</title>"]
    lowest, highest = limits
    if lowest is not None:
        parts.append(_box(EDGE, at(lowest), 2, 22, SHADE))
    if highest is not None:
        parts.append(_box(at(highest), WIDTH - EDGE, 2, 22, SHADE))
    parts.append(f'<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{MIDDLE}" y2="{MIDDLE}" stroke="{GREY}"/>')
    if usual:
        p5, p25, p50, p75, p95 = (at(one) for one in usual.quantiles)
        parts.append(_box(p5, p95, 10, 6, GREY))
        parts.append(_box(p25, p75, 7, 12, GREY))
        parts.append(_line(p50, 7, 19, "#fff"))
    if value is not None:
        outside = (lowest is not None and value < lowest) or (highest is not None and value > highest)
        colour = RED if outside else BLUE
        parts.append(_line(at(value), 2, 24, colour, 3))
    parts += [_words(EDGE, "start", low), _words(WIDTH - EDGE, "end", high)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return Markup(f'{head} role="img" font-size="9">{"".join(parts)}</svg>')  # noqa: S704 - words are escaped


def _span(known: list[float]) -> tuple[float, float]:
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    room = 0.08 * (high - low) or 0.5
    return low - room, high + room


def _said(name: str, value: float | None, limits: Bounds, usual: Usual | None) -> str:
    parts = [f"{name}: {'not measured' if value is None else f'{value:.4g}'}"]
    if usual:
        parts.append(f"usual {usual.quantiles[0]:.4g} to {usual.quantiles[-1]:.4g}")
    for word, limit in zip(("at least", "at most"), limits, strict=True):
        if limit is not None:
            parts.append(f"{word} {limit:.4g}")
    return "; ".join(parts)


def _box(left: float, right: float, top: float, height: float, colour: str) -> str:
    return f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 0):.1f}" height="{height}" fill="{colour}"/>'


def _line(x: float, top: float, bottom: float, colour: str, width: float = 1.5) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="{colour}" stroke-width="{width}"/>'


def _words(x: float, anchor: str, value: float) -> str:
    return f'<text x="{x:.1f}" y="32" text-anchor="{anchor}" fill="{FAINT}">{value:.4g}</text>'
