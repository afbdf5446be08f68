"""A figure for a paper: axes with units, points, intervals and a legend, as PDF, SVG or PNG of the same drawing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from itertools import pairwise
from threading import Lock
from typing import Literal, cast

import pypdfium2
from reportlab.graphics import renderPDF, renderSVG
from reportlab.graphics.shapes import Circle, Drawing, Group, Line, Rect, String
from reportlab.lib.colors import Color, HexColor

from med3d_service.cohorts.charts.svg import nice_ticks

PDFIUM = Lock()
"""PDFium draws for one thread at a time (its README: "not thread-safe"), whichever module asks."""
FORMS = ("svg", "pdf", "png")
POINT_MM = 25.4 / 72
DOTS_PER_INCH = 300
FONT, FONT_BOLD, SIZE = "Helvetica", "Helvetica-Bold", 8.0
INK, FAINT = HexColor("#1d2733"), HexColor("#8a96a3")
COLOURS = tuple(map(HexColor, ("#2b6ca3", "#c8102e", "#b35900", "#2e7d4f", "#6a4c9c", "#1d2733", "#0097a7", "#9a7d0a")))
LEFT, RIGHT, TOP, BOTTOM = 38.0, 8.0, 18.0, 34.0
Range = tuple[float, float]
Place = tuple[float, float]


@dataclass
class PaperFigure:
    """A frame of ``width_mm`` by ``height_mm``; what is drawn is in the units of its axes.

    names: of the places 0, 1, ... on the horizontal axis, in place of numbers; empty: none there. Those
    beyond ``x_range`` are not drawn.
    """

    width_mm: float
    height_mm: float
    x_range: Range
    y_range: Range
    x_label: str
    y_label: str
    title: str = ""
    names: Sequence[str] = ()
    decimal_mark: str = "."
    _shapes: Group = field(default_factory=Group)
    _legend: list[tuple[str, Color]] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a pair of values, in points from the lower left corner."""
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        wide, high = self._size()
        across, up = (x - x0) / (x1 - x0), (y - y0) / (y1 - y0)
        return LEFT + across * (wide - LEFT - RIGHT), BOTTOM + up * (high - TOP - BOTTOM)

    def points(self, places: Sequence[tuple[float, float]], colour: Color) -> None:
        """Draw a dot for each."""
        for place in places:
            x, y = self.at(*place)
            self._shapes.add(Circle(x, y, 1.7, fillColor=colour, fillOpacity=0.75, strokeColor=None))

    def line(
        self, places: Sequence[tuple[float, float]], colour: Color = INK, *, dashed: bool = False, width: float = 0.8
    ) -> None:
        """Join places by straight lines."""
        for one, other in pairwise(places):
            self._shapes.add(_line(self.at(*one), self.at(*other), colour, width, dashed=dashed))

    def legend(self, words: str, colour: Color) -> None:
        """Name a colour."""
        self._legend.append((words, colour))

    def write(self, at: Place, words: str, colour: Color) -> None:
        """Write words beside a place, below it, on the side where there is room."""
        x, y = self.at(*at)
        on_left = x < self._size()[0] / 2
        text = _text(x + (4 if on_left else -4), y - 9, words, "start" if on_left else "end")
        text.fillColor = colour
        self._shapes.add(text)

    def as_form(self, form: str) -> bytes:
        """Return the figure in one of FORMS."""
        drawing = self._drawing()
        if form == "svg":
            said = renderSVG.drawToString(drawing)
            return said.replace("<title>...</title>", f"<title>{escape(self.title)}</title>", 1).encode()
        page = cast("bytes", renderPDF.drawToString(drawing, self.title))  # whose stubs say text
        if form == "pdf":
            return page
        written = BytesIO()
        with PDFIUM, pypdfium2.PdfDocument(page) as document:
            picture = document[0].render(scale=DOTS_PER_INCH / 72).to_pil()
            picture.save(written, "PNG", dpi=(DOTS_PER_INCH, DOTS_PER_INCH))
        return written.getvalue()

    def _size(self) -> tuple[float, float]:
        return self.width_mm / POINT_MM, self.height_mm / POINT_MM

    def _drawing(self) -> Drawing:
        wide, high = self._size()
        drawing = Drawing(wide, high)
        paper = Rect(0, 0, wide, high)
        paper.fillColor, paper.strokeColor = HexColor("#ffffff"), None
        drawing.add(paper)
        drawing.add(self._shapes)
        for shape in (*self._axes(), *self._words(), *self._keys()):
            drawing.add(shape)
        return drawing

    def _axes(self) -> list[Line | String]:
        wide, high = self._size()
        found: list[Line | String] = [
            _line((LEFT, BOTTOM), (wide - RIGHT, BOTTOM)),
            _line((LEFT, BOTTOM), (LEFT, high - TOP)),
        ]
        first, last = self.x_range
        ticks = [] if self.names else nice_ticks(first, last)
        for place, words in [
            *((one, self._written(one)) for one in ticks),
            *((place, name) for place, name in enumerate(self.names) if name and first <= place <= last),
        ]:
            x, _ = self.at(place, self.y_range[0])
            found += [_line((x, BOTTOM), (x, BOTTOM - 3)), _text(x, BOTTOM - 12, words, "middle")]
        for tick in nice_ticks(*self.y_range):
            _, y = self.at(self.x_range[0], tick)
            found += [_line((LEFT, y), (LEFT - 3, y)), _text(LEFT - 5, y - 3, self._written(tick), "end")]
        return found

    def _written(self, value: float) -> str:
        return f"{value:g}".replace(".", self.decimal_mark)

    def _words(self) -> list[String | Group]:
        wide, high = self._size()
        turned = Group(_text(0, 0, self.y_label, "middle"))
        turned.translate(9, BOTTOM + (high - TOP - BOTTOM) / 2)
        turned.rotate(90)
        middle = LEFT + (wide - LEFT - RIGHT) / 2
        title = String(middle, high - 11, self.title, fontName=FONT_BOLD, fontSize=SIZE, textAnchor="middle")
        return [turned, _text(middle, 5, self.x_label, "middle"), title]

    def _keys(self) -> list[Circle | String]:
        _, high = self._size()
        found: list[Circle | String] = []
        for number, (words, colour) in enumerate(self._legend):
            y = high - TOP - 6 - 11 * number
            found += [Circle(LEFT + 8, y + 2.5, 2, fillColor=colour, strokeColor=None), _text(LEFT + 14, y, words)]
        return found


def _line(start: Place, end: Place, colour: Color = INK, width: float = 0.6, *, dashed: bool = False) -> Line:
    return Line(*start, *end, strokeColor=colour, strokeWidth=width, strokeDashArray=[3, 2] if dashed else [])


def _text(x: float, y: float, words: str, anchor: Literal["start", "middle", "end"] = "start") -> String:
    return String(x, y, words, fontName=FONT, fontSize=SIZE, fillColor=INK, textAnchor=anchor)
