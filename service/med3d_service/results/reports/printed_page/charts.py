"""The two charts of the page: brain age against age, and the latent map, each with the reference cohort behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

from reportlab.lib.colors import Color, HexColor, linearlyInterpolatedColor
from reportlab.pdfgen.canvas import Canvas

from med3d_contract.pictures import ReferenceCohort
from med3d_contract.results import Latent, Result
from med3d_service.results.reports.printed_page.lettering import FONT, number

INK, FAINT, PAPER = HexColor("#1d2733"), HexColor("#66727f"), HexColor("#ffffff")
THIS = HexColor("#c8102e")
YOUNG, OLD = HexColor("#9ecae1"), HexColor("#08306b")
SMALL = 7.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """Where a chart stands on the page, in points, and which values its sides have."""

    left: float
    bottom: float
    width: float
    height: float
    x_range: Point
    y_range: Point

    def at(self, point: Point) -> Point:
        """Return the place of a pair of values on the page."""
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        across = (point[0] - x0) / (x1 - x0)
        up = (point[1] - y0) / (y1 - y0)
        return self.left + across * self.width, self.bottom + up * self.height


def spanning(values: Sequence[float], step: float) -> Point:
    """Return the range from the lowest to the highest value, widened to whole steps."""
    lowest, highest = min(values), max(values)
    low = step * (lowest // step)
    return low, max(low + step, step * -(-highest // step))


def draw_age_chart(
    canvas: Canvas, frame_at: tuple[float, float, float, float], result: Result, cohort: ReferenceCohort
) -> None:
    """Draw brain age against age of the cohort, and this person with the interval."""
    brain_age, age = result.brain_age, result.brain_age.chronological_age
    ages = [*cohort.ages, *([age.years] if age else [])]
    shown = [*cohort.brain_ages, brain_age.interval.lower, brain_age.interval.upper]
    limits = spanning([*ages, *shown], 10)
    frame = Frame(*frame_at, limits, limits)
    _axes(canvas, frame, "age (years)", "brain age (years)", ticks=True)
    canvas.setStrokeColor(FAINT)
    canvas.setLineWidth(0.6)
    canvas.setDash(2, 2)
    canvas.line(*frame.at((limits[0], limits[0])), *frame.at((limits[1], limits[1])))
    canvas.setDash()
    for point in zip(cohort.ages, cohort.brain_ages, strict=True):
        _dot(canvas, frame.at(point), HexColor("#9fb3c8"), 1.6)
    canvas.setStrokeColor(THIS)
    if age is None:  # a band across all ages: the position by age is not known
        canvas.setLineWidth(1.2)
        canvas.line(*frame.at((limits[0], brain_age.estimate)), *frame.at((limits[1], brain_age.estimate)))
        return
    canvas.setLineWidth(1.4)
    canvas.line(*frame.at((age.years, brain_age.interval.lower)), *frame.at((age.years, brain_age.interval.upper)))
    _dot(canvas, frame.at((age.years, brain_age.estimate)), THIS, 3.2)


def draw_latent_map(
    canvas: Canvas, frame_at: tuple[float, float, float, float], latent: Latent, cohort: ReferenceCohort
) -> None:
    """Return the cohort in the two directions of the latent space that follow age, by age; and this person."""
    here = latent.map.pls_age
    across, up = zip(*cohort.pls_age, here, strict=True)
    frame = Frame(*frame_at, _padded(across), _padded(up))
    _axes(canvas, frame, "latent axis 1", "latent axis 2", ticks=False)
    youngest, oldest = min(cohort.ages), max(cohort.ages)
    for point, age in zip(cohort.pls_age, cohort.ages, strict=True):
        colour = linearlyInterpolatedColor(YOUNG, OLD, youngest, max(oldest, youngest + 1), age)
        _dot(canvas, frame.at(point), colour, 1.8)
    _dot(canvas, frame.at(here), THIS, 3.2)
    _legend(canvas, frame, youngest, oldest)


def _padded(values: Sequence[float]) -> Point:
    margin = 0.06 * (max(values) - min(values) or 1.0)
    return min(values) - margin, max(values) + margin


def _dot(canvas: Canvas, at: Point, colour: Color, radius: float) -> None:
    canvas.setFillColor(colour)
    canvas.setStrokeColor(PAPER if radius > 2 else colour)
    canvas.setLineWidth(0.5)
    canvas.circle(*at, radius, stroke=1, fill=1)


def _axes(canvas: Canvas, frame: Frame, across: str, up: str, *, ticks: bool) -> None:
    canvas.setStrokeColor(FAINT)
    canvas.setLineWidth(0.6)
    canvas.rect(frame.left, frame.bottom, frame.width, frame.height, stroke=1, fill=0)
    canvas.setFillColor(INK)
    canvas.setFont(FONT, SMALL)
    canvas.drawCentredString(
        frame.left + frame.width * (0.5 if ticks else 0.3), frame.bottom - (19 if ticks else 10), across
    )
    canvas.saveState()
    canvas.translate(frame.left - (17 if ticks else 5), frame.bottom + frame.height / 2)
    canvas.rotate(90)
    canvas.drawCentredString(0, 0, up)
    canvas.restoreState()
    if not ticks:
        return
    first, last = frame.x_range
    value = first
    while value <= last:
        x, y = frame.at((value, value))
        canvas.line(x, frame.bottom, x, frame.bottom - 2)
        canvas.line(frame.left, y, frame.left - 2, y)
        if value % 20 == 0:
            canvas.drawCentredString(x, frame.bottom - 9, number(value, 0))
            canvas.drawRightString(frame.left - 4, y - 2.4, number(value, 0))
        value += 10


def _legend(canvas: Canvas, frame: Frame, youngest: float, oldest: float) -> None:
    canvas.setFont(FONT, SMALL)
    left, top = frame.left + frame.width - 76, frame.bottom - 11
    canvas.setFillColor(INK)
    canvas.drawRightString(left - 2, top, number(youngest, 0))
    for step in range(30):
        canvas.setFillColor(linearlyInterpolatedColor(YOUNG, OLD, 0, 29, step))
        canvas.rect(left + step * 1.3, top, 1.4, 5, stroke=0, fill=1)
    canvas.setFillColor(INK)
    canvas.drawString(left + 42, top, f"{oldest:.0f} years")
