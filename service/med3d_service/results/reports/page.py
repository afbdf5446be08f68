"""The page that a radiologist reads in twenty seconds, as PDF: numbers, where they stand, why to trust them."""

import base64
import io

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader, simpleSplit
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from med3d_contract.results import Interval, Quality, Result
from med3d_service.results.reports.charts import (
    BOLD,
    FAINT,
    FONT,
    INK,
    PAPER,
    WITHIN_YEARS,
    draw_age_chart,
    draw_latent_map,
    position_by_age,
)
from med3d_service.results.reports.codes import RESEARCH_USE
from med3d_service.results.reports.facts import PatientIdentity, ReportFacts

WIDTH, HEIGHT = A4
MARGIN = 40.0
RIGHT = WIDTH - MARGIN
BODY, SMALL = 9.5, 8.0
COLOURS = {"accepted": HexColor("#1b7f4d"), "review": HexColor("#b26a00"), "refused": HexColor("#a4161a")}
WORDS = {
    "accepted": "ACCEPTED",
    "review": "REVIEW: look before you use the number",
    "refused": "REFUSED: no estimate",
}
MAX_REASONS = 4
FOOTER = 72.0
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
    "gain_by_turning": ("better fit when turned", "", 3),
    "tissue_correlation": ("tissues like the template's", "", 2),
}


def page_pdf(facts: ReportFacts) -> bytes:
    """Draw the page of an answer; the same facts give the same bytes."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1, pageCompression=1)
    canvas.setTitle("Brain age analysis")
    canvas.setAuthor("InfoVAE-Med3D")
    _header(canvas, facts)
    below = _decision(canvas, facts, _numbers(canvas, facts))
    if facts.result is not None and facts.cohort is not None and facts.cohort.ages:
        below = _charts(canvas, facts, facts.result, below)
    below = _pictures(canvas, facts, below)
    _quality(canvas, facts.quality, below)
    _footer(canvas, facts)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _header(canvas: Canvas, facts: ReportFacts) -> None:
    canvas.setFillColor(INK)
    canvas.rect(0, HEIGHT - 44, WIDTH, 44, stroke=0, fill=1)
    canvas.setFillColor(PAPER)
    canvas.setFont(BOLD, 16)
    canvas.drawString(MARGIN, HEIGHT - 28, "Brain age analysis")
    canvas.setFont(BOLD, BODY)
    canvas.drawRightString(RIGHT, HEIGHT - 22, "RESEARCH USE ONLY")
    canvas.setFont(FONT, SMALL)
    canvas.drawRightString(RIGHT, HEIGHT - 33, "not a medical device")
    left, right = _who(facts)
    canvas.setFillColor(INK)
    for column, lines in ((MARGIN, left), (WIDTH / 2 + 6, right)):
        for row, (name, value) in enumerate(lines):
            top = HEIGHT - 60 - 12 * row
            canvas.setFont(FONT, SMALL)
            canvas.setFillColor(FAINT)
            canvas.drawString(column, top, name)
            canvas.setFillColor(INK)
            canvas.setFont(BOLD if row == 0 else FONT, BODY)
            canvas.drawString(column + 58, top, _fitting(value, BODY, 190))


def _who(facts: ReportFacts) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    patient, study = facts.patient, facts.study
    left = [
        ("patient", readable_name(patient)),
        ("patient ID", _printable(patient.patient_id) or "-"),
        ("born, sex", ", ".join(filter(None, (_date(patient.birth_date), patient.sex))) or "-"),
    ]
    right = [
        ("study date", _date(study.study_date) if study else "-"),
        ("accession", (_printable(study.accession_number) if study else "") or "-"),
        ("series", facts.series.chosen if facts.series and facts.series.chosen else "none was usable"),
    ]
    return left, right


def _numbers(canvas: Canvas, facts: ReportFacts) -> float:
    """Draw the numbers, or that there are none; the height below them."""
    top = HEIGHT - 112
    canvas.setStrokeColor(FAINT)
    canvas.setLineWidth(0.5)
    canvas.line(MARGIN, top + 10, RIGHT, top + 10)
    if facts.result is None:
        return top
    age = facts.result.brain_age
    columns = [("Brain age", f"{age.estimate:.0f} years", _interval(age.interval), "")]
    if age.chronological_age is not None:
        known = age.chronological_age
        source = {"form": "as stated", "birth_date": "from birth and study date", "patient_age": "from PatientAge"}
        columns.append(("Age at the scan", f"{known.years:.1f} years", source[known.source], ""))
    if age.gap_corrected is not None:
        gap = age.gap_corrected
        note = "brain age minus age, corrected for age"
        columns.append(("Corrected gap", f"{gap.estimate:+.1f} years", _interval(gap.interval, signed=True), note))
    if facts.result.sdmt is not None:
        sdmt = facts.result.sdmt
        limits = "no interval" if sdmt.interval is None else _interval(sdmt.interval)
        columns.append(("SDMT, estimated", f"{sdmt.estimate:.0f} points", limits, "not a measured score"))
    width = (RIGHT - MARGIN) / max(3, len(columns))
    for place, (name, value, limits, note) in enumerate(columns):
        left = MARGIN + place * width
        canvas.setFillColor(FAINT)
        canvas.setFont(FONT, BODY)
        canvas.drawString(left, top - 8, name)
        canvas.setFillColor(INK)
        canvas.setFont(BOLD, 22 if len(columns) < 4 else 18)
        canvas.drawString(left, top - 31, value)
        canvas.setFont(FONT, SMALL)
        canvas.drawString(left, top - 44, limits)
        canvas.setFillColor(FAINT)
        canvas.drawString(left, top - 54, _fitting(note, SMALL, width - 6))
    return top - 66


def _decision(canvas: Canvas, facts: ReportFacts, top: float) -> float:
    """Draw the decision with its reasons; the height below it."""
    lines: list[str] = []
    for reason in facts.reasons[:MAX_REASONS]:
        lines += simpleSplit(reason.sentence, FONT, BODY, RIGHT - MARGIN - 24)[:3]
    if len(facts.reasons) > MAX_REASONS:
        lines.append(f"and {len(facts.reasons) - MAX_REASONS} more")
    height = 22 + 12 * len(lines)
    colour = COLOURS[facts.decision]
    canvas.setFillColor(HexColor("#f4f6f8"))
    canvas.rect(MARGIN, top - height, RIGHT - MARGIN, height, stroke=0, fill=1)
    canvas.setFillColor(colour)
    canvas.rect(MARGIN, top - height, 5, height, stroke=0, fill=1)
    canvas.setFont(BOLD, 11)
    canvas.drawString(MARGIN + 14, top - 15, WORDS[facts.decision])
    canvas.setFillColor(INK)
    canvas.setFont(FONT, BODY)
    for row, line in enumerate(lines):
        canvas.drawString(MARGIN + 14, top - 29 - 12 * row, _printable(line))
    return top - height - 18


def _charts(canvas: Canvas, facts: ReportFacts, result: Result, top: float) -> float:
    cohort = facts.cohort
    assert cohort is not None
    side = 150.0
    first, second = MARGIN + 28, WIDTH / 2 + 32
    _heading(canvas, MARGIN, top, f"Among the reference cohort ({len(cohort.ages)} subjects, held out)")
    bottom = top - 12 - side
    draw_age_chart(canvas, (first, bottom, side + 60, side), result, cohort)
    if cohort.pls_age and result.latent is not None:
        _heading(canvas, WIDTH / 2 + 14, top, "Latent map, cohort coloured by age")
        draw_latent_map(canvas, (second, bottom, side + 60, side), result.latent, cohort)
    canvas.setFont(FONT, BODY)
    canvas.setFillColor(INK)
    for row, line in enumerate(simpleSplit(_position(result, facts), FONT, BODY, RIGHT - MARGIN)[:2]):
        canvas.drawString(MARGIN, bottom - 35 - 12 * row, line)
    return bottom - 66


def _position(result: Result, facts: ReportFacts) -> str:
    assert facts.cohort is not None
    position = position_by_age(result, facts.cohort)
    percentile = result.assessment.out_of_distribution.percentile
    middle = "the training cohort" if facts.calibrated_for is None else f"healthy heads of {facts.calibrated_for}"
    far = f"Distance from {_printable(middle)}: percentile {percentile:.0f}."
    name = _printable(facts.cohort.name)
    if position is None:
        return f"Red: this scan with its interval. Cohort: {name}. {far}"
    count, lower = position
    return (
        f"Red: this scan with its interval. Of {count} cohort subjects ({name}) within {WITHIN_YEARS} years of this "
        f"age, {lower} % have a lower brain age. {far}"
    )


def _pictures(canvas: Canvas, facts: ReportFacts, top: float) -> float:
    if facts.pictures is None or not facts.pictures.pictures:
        return top
    _heading(canvas, MARGIN, top, "Brain outline, as it was found (the patient's right is on the left)")
    tallest = max(picture.height * picture.pixel_mm for picture in facts.pictures.pictures)
    widest = sum(picture.width * picture.pixel_mm for picture in facts.pictures.pictures)
    room = top - 40 - FOOTER - _quality_height(facts.quality)
    scale = min(min(165.0, max(room, 60.0)) / tallest, (RIGHT - MARGIN - 20) / widest)
    left, bottom = MARGIN, top - 10 - tallest * scale
    for picture in facts.pictures.pictures:
        width, height = picture.width * picture.pixel_mm * scale, picture.height * picture.pixel_mm * scale
        image = ImageReader(io.BytesIO(base64.b64decode(picture.png_base64)))
        canvas.drawImage(image, left, bottom + (tallest * scale - height) / 2, width, height)
        canvas.setFont(FONT, 7)
        canvas.setFillColor(FAINT)
        canvas.drawString(left, bottom - 9, picture.plane)
        left += width + 10
    return bottom - 30


def _quality_height(quality: Quality | None) -> float:
    return 0.0 if quality is None else 24.0 + 11.0 * -(-len(quality.measures) // 3)


def _quality(canvas: Canvas, quality: Quality | None, top: float) -> None:
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
        shown = "not measured" if value is None else f"{value:.{decimals}f} {unit}".strip()
        left, line = MARGIN + (place % 3) * width, top - 13 - 11 * (place // 3)
        canvas.setFillColor(FAINT)
        canvas.setFont(FONT, SMALL)
        canvas.drawString(left, line, label)
        canvas.setFillColor(COLOURS["refused"] if name in quality.failed else INK)
        canvas.setFont(BOLD if name in quality.failed else FONT, SMALL)
        canvas.drawString(left + 102, line, shown)


def _footer(canvas: Canvas, facts: ReportFacts) -> None:
    software = facts.provenance.software.get("infovae-med3d", "") if facts.provenance else ""
    lines = [
        RESEARCH_USE,
        f"Model {facts.bundle.name} {facts.bundle.version}, sha256 {facts.bundle.digest}",
        f"Run {facts.run_id}, {facts.answered_at:%Y-%m-%d %H:%M}; InfoVAE-Med3D {software}",
        f"The intervals are prediction intervals, calibrated on {_whose(facts)}.",
    ]
    canvas.setStrokeColor(FAINT)
    canvas.line(MARGIN, 68, RIGHT, 68)
    for row, line in enumerate(lines):
        canvas.setFillColor(INK if row == 0 else FAINT)
        canvas.setFont(BOLD if row == 0 else FONT, SMALL if row == 0 else 7)
        canvas.drawString(MARGIN, 56 - 11 * row, _fitting(line, 7, RIGHT - MARGIN))


def _whose(facts: ReportFacts) -> str:
    site = facts.calibrated_for
    return "the reference cohort" if site is None else f"healthy heads of {_printable(site)}, as is the brain age"


def _heading(canvas: Canvas, left: float, top: float, text: str) -> None:
    canvas.setFillColor(INK)
    canvas.setFont(BOLD, BODY)
    canvas.drawString(left, top, text)


def _interval(interval: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{interval.level:.0%} interval {interval.lower:{sign}.0f} to {interval.upper:{sign}.0f}"


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdecimal() else _printable(text) or "-"


def readable_name(patient: PatientIdentity) -> str:
    """The alphabetic group of a DICOM name as "Family, Given"; the page's fonts have Latin letters alone."""
    family, *given = patient.name.split("=")[0].split("^")
    name = ", ".join(filter(None, (family, " ".join(filter(None, given)))))
    if not name:
        return "-"
    return name if name == _printable(name) else "see the study (not in Latin letters)"


def _printable(text: str) -> str:
    """What Helvetica's Latin letters can show; anything else as a question mark."""
    return "".join(one if one.isprintable() else " " for one in text).encode("cp1252", "replace").decode("cp1252")


def _fitting(text: str, size: float, width: float) -> str:
    """The text, cut where it would leave its place."""
    shown = " ".join(_printable(text).split())
    if stringWidth(shown, FONT, size) <= width:
        return shown
    while shown and stringWidth(f"{shown} ...", FONT, size) > width:
        shown = shown[:-1]
    return f"{shown.rstrip()} ..."
