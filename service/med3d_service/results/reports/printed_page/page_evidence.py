"""The page's lower half: the reference cohort, the brain's outline, the series, the image's quality."""

import base64
import io

from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from med3d_contract.pictures import BrainPicture
from med3d_contract.results import Quality, Result, SeriesCandidate
from med3d_service.results.reports.facts import ReportFacts
from med3d_service.results.reports.printed_page.charts import (
    FAINT,
    INK,
    draw_age_chart,
    draw_latent_map,
)
from med3d_service.results.reports.printed_page.cohort_position import WITHIN_YEARS, position_by_age
from med3d_service.results.reports.printed_page.lettering import BOLD, FONT, draw_text, number, width_of, wrapped
from med3d_service.results.reports.printed_page.page_answer import BODY, COLOURS, MARGIN, RIGHT, SMALL, WIDTH

FOOTER = 72.0
SMALLEST_PICTURES = 56.0
_MEASURES = {
    "brain_volume_ml": ("brain volume", "ml", 0),
    "template_overlap": ("overlap with template", "", 2),
    "registration_similarity": ("similarity to template", "", 2),
    "affine_determinant": ("scaling to template", "", 2),
    "affine_anisotropy": ("unevenness of scaling", "", 2),
    "template_outside_view": ("brain outside the image", "", 3),
    "brain_at_edge_cm2": ("brain at the image's edge", "cm\N{SUPERSCRIPT TWO}", 1),
    "brain_at_removed_face_cm2": ("brain at a removed face", "cm\N{SUPERSCRIPT TWO}", 1),
    "signal_to_noise": ("signal to noise", "", 1),
    "contrast_to_noise": ("contrast to noise", "", 1),
    "white_over_grey": ("white over grey matter", "", 2),
    "clipped_bright_share": ("brain at the brightest value", "", 3),
    "clipped_dark_share": ("brain without brightness", "", 3),
    "repeated_slices_mm": ("slices that repeat", "mm", 1),
    "ghost_share": ("ghost beside the head", "", 2),
    "gain_by_turning": ("better fit when turned", "", 3),
    "tissue_correlation": ("tissues like the template's", "", 2),
}
_SIDES = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}
"""Left, right, top and bottom of each plane as pictures are drawn (med3d_contract.pictures)."""
_CHART_SIDES = (150.0, 84.0)


def draw_charts(canvas: Canvas, facts: ReportFacts, result: Result, top: float) -> float:
    """Draw the cohort's charts, as large as leaves room for the pictures; the height below them."""
    cohort = facts.cohort
    assert cohort is not None
    needed = _quality_height(facts.quality) + (0.0 if facts.pictures is None else SMALLEST_PICTURES + 50)
    largest, smallest = _CHART_SIDES
    side = max(smallest, min(largest, top - FOOTER - needed - 84))
    first, second = MARGIN + 28, WIDTH / 2 + 32
    _heading(canvas, MARGIN, top, f"Among the reference cohort ({len(cohort.ages)} subjects, held out)", 0.5)
    bottom = top - 12 - side
    draw_age_chart(canvas, (first, bottom, 210, side), result, cohort)
    if cohort.pls_age and result.latent is not None:
        _heading(canvas, WIDTH / 2 + 14, top, "Latent map, cohort coloured by age", 0.45)
        draw_latent_map(canvas, (second, bottom, 210, side), result.latent, cohort)
    canvas.setFillColor(INK)
    lines = wrapped(_position(result, facts), FONT, BODY, RIGHT - MARGIN)
    for row, line in enumerate(lines):
        draw_text(canvas, (MARGIN, bottom - 35 - 12 * row), line, font=FONT, size=BODY)
    return bottom - 42 - 12 * len(lines)


def _position(result: Result, facts: ReportFacts) -> str:
    assert facts.cohort is not None
    position = position_by_age(result, facts.cohort)
    percentile = result.assessment.out_of_distribution.percentile
    middle = "the training cohort" if facts.calibrated_for is None else f"healthy heads of {facts.calibrated_for}"
    far = f"Distance from {middle}: percentile {percentile:.0f}."
    if position is None:
        return f"Red: this scan with its interval. Cohort: {facts.cohort.name}. {far}"
    count, lower = position
    return (
        f"Red: this scan with its interval. Of {count} cohort subjects ({facts.cohort.name}) within {WITHIN_YEARS} "
        f"years of this age, {lower}% have a lower brain age. {far}"
    )


def draw_pictures(canvas: Canvas, facts: ReportFacts, top: float) -> float:
    """Draw the slices with the marks of their sides, as large as there is room; the height below them."""
    if facts.pictures is None or not facts.pictures.pictures:
        return top
    _heading(canvas, MARGIN, top, "Brain outline, as it was found")
    pictures = facts.pictures.pictures
    tallest = max(picture.height * picture.pixel_mm for picture in pictures)
    widest = sum(picture.width * picture.pixel_mm for picture in pictures)
    room = top - 42 - FOOTER - _quality_height(facts.quality)
    scale = min(min(165.0, max(room, 40.0)) / tallest, (RIGHT - MARGIN - 34 * len(pictures)) / widest)
    left, bottom = MARGIN + 10, top - 18 - tallest * scale
    for picture in pictures:
        width, height = picture.width * picture.pixel_mm * scale, picture.height * picture.pixel_mm * scale
        image = ImageReader(io.BytesIO(base64.b64decode(picture.png_base64)))
        up = bottom + (tallest * scale - height) / 2
        canvas.drawImage(image, left, up, width, height)
        _marks(canvas, picture, (left, up, width, height))
        left += width + 34
    return bottom - 24


def _marks(canvas: Canvas, picture: BrainPicture, frame: tuple[float, float, float, float]) -> None:
    """Letter the sides of a picture, outside it: right and left of the patient, front and back, top and bottom."""
    left, bottom, width, height = frame
    at_left, at_right, above, below = _SIDES[picture.plane]
    size, middle = 7.0, left + width / 2
    canvas.setFillColor(INK)
    draw_text(canvas, (left - 7, bottom + height / 2 - 2.5), at_left, font=BOLD, size=size)
    draw_text(canvas, (left + width + 2, bottom + height / 2 - 2.5), at_right, font=BOLD, size=size)
    draw_text(canvas, (middle - width_of(above, BOLD, size) / 2, bottom + height + 2), above, font=BOLD, size=size)
    draw_text(canvas, (middle - width_of(below, BOLD, size) / 2, bottom - 7), below, font=BOLD, size=size)
    canvas.setFillColor(FAINT)
    draw_text(canvas, (left, bottom - 8), picture.plane, font=FONT, size=size, width=width / 2 - 6)


def draw_series(canvas: Canvas, facts: ReportFacts, top: float) -> float:
    """Draw which series there were and what spoke against each, on a page without a number; the height below them."""
    candidates = facts.series.candidates if facts.series is not None else ()
    if not candidates:
        return top
    _heading(canvas, MARGIN, top, f"Series that were looked at ({len(candidates)})")
    line, lowest = top - 14, FOOTER + _quality_height(facts.quality) + (0 if facts.pictures is None else 110)
    for place, candidate in enumerate(candidates):
        lines = _series_lines(facts, candidate)
        if line - 11 * len(lines) < lowest + 11:
            canvas.setFillColor(FAINT)
            left_out = f"and {len(candidates) - place} more, in the answer of the run"
            draw_text(canvas, (MARGIN, line), left_out, font=FONT, size=SMALL)
            return line - 20
        for row, text in enumerate(lines):
            canvas.setFillColor(FAINT if row else INK)
            draw_text(canvas, (MARGIN + (10 if row else 0), line), text, font=FONT, size=SMALL)
            line -= 11
    return line - 9


def _series_lines(facts: ReportFacts, candidate: SeriesCandidate) -> list[str]:
    described = facts.described(candidate.label)
    name = f"{candidate.label} \N{EN DASH} {described}" if described else candidate.label
    room = RIGHT - MARGIN
    return [
        *wrapped(name, FONT, SMALL, room),
        *wrapped("; ".join(candidate.reasons), FONT, SMALL, room - 10),
    ]


def _quality_height(quality: Quality | None) -> float:
    return 0.0 if quality is None else 24.0 + 11.0 * -(-len(quality.measures) // 3)


def draw_quality(canvas: Canvas, quality: Quality | None, top: float) -> None:
    """Draw the measures of the image, those outside their limits in bold."""
    if quality is None:
        return
    outside = len(quality.failed)
    said = "all measures within their limits" if not outside else f"{outside} outside the limits, in bold"
    _heading(canvas, MARGIN, top, f"Image quality: {said}")
    names = [name for name in quality.measures if name in _MEASURES]
    width = (RIGHT - MARGIN) / 3
    for place, name in enumerate(names):
        label, unit, decimals = _MEASURES[name]
        value = quality.measures[name]
        shown = "not measured" if value is None else f"{number(value, decimals)} {unit}".strip()
        left, line = MARGIN + (place % 3) * width, top - 13 - 11 * (place // 3)
        canvas.setFillColor(FAINT)
        draw_text(canvas, (left, line), label, font=FONT, size=SMALL, width=98)
        canvas.setFillColor(COLOURS["refused"] if name in quality.failed else INK)
        font = BOLD if name in quality.failed else FONT
        draw_text(canvas, (left + 102, line), shown, font=font, size=SMALL, width=width - 106)


def _heading(canvas: Canvas, left: float, top: float, text: str, share: float = 1.0) -> None:
    canvas.setFillColor(INK)
    draw_text(canvas, (left, top), text, font=BOLD, size=BODY, width=share * (RIGHT - MARGIN))
