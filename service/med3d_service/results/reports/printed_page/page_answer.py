"""The page's upper half and its foot: whose study it is, the numbers, the decision and its reasons, what made them."""

from dataclasses import dataclass
from datetime import datetime

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from med3d_contract.results import BrainAge, Interval
from med3d_service.results.reports.codes import RESEARCH_USE
from med3d_service.results.reports.facts import PatientIdentity, ReportFacts
from med3d_service.results.reports.printed_page.charts import FAINT, INK, PAPER
from med3d_service.results.reports.printed_page.lettering import (
    BOLD,
    FONT,
    MINUS,
    can_write,
    draw_text,
    number,
    printable,
    width_of,
    wrapped,
)

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
MOST_LINES = 11
"""Of reasons. A sentence that does not fit whole is counted instead of cut."""
_LABEL = 58.0
_ROOM = WIDTH / 2 - 10 - MARGIN - _LABEL
_ELSEWHERE = "see the study (in letters that this page does not have)"


@dataclass(frozen=True)
class _Figure:
    """One of the numbers in a row: its name, what it is of which unit, its limits and what it means."""

    name: str
    value: str
    unit: str
    limits: str = ""
    note: str = ""


def draw_header(canvas: Canvas, facts: ReportFacts) -> float:
    """Draw title, patient and study; the height below them."""
    canvas.setFillColor(INK)
    canvas.rect(0, HEIGHT - 44, WIDTH, 44, stroke=0, fill=1)
    canvas.setFillColor(PAPER)
    draw_text(canvas, (MARGIN, HEIGHT - 28), "Brain age analysis", font=BOLD, size=16)
    for text, font, size, up in (("RESEARCH USE ONLY", BOLD, BODY, 22), ("not a medical device", FONT, SMALL, 33)):
        draw_text(canvas, (RIGHT - width_of(text, font, size), HEIGHT - up), text, font=font, size=size)
    columns = ((MARGIN, _patient_lines(facts)), (WIDTH / 2 + 6, _study_lines(facts)))
    return min(_draw_fields(canvas, left, lines) for left, lines in columns) - 4


def _draw_fields(canvas: Canvas, left: float, fields: list[tuple[str, str]]) -> float:
    """Draw names and values below one another; the height below them. A value too long for a line takes several."""
    top = HEIGHT - 60
    for row, (name, value) in enumerate(fields):
        font, size = FONT if row else BOLD, BODY
        lines = [value]
        if width_of(printable(value), font, BODY) > _ROOM * BODY / SMALL:
            size = SMALL
            lines = wrapped(value, font, size, _ROOM)
        canvas.setFillColor(FAINT)
        draw_text(canvas, (left, top), name, font=FONT, size=SMALL, width=_LABEL - 4)
        canvas.setFillColor(INK)
        for line in lines:
            draw_text(canvas, (left + _LABEL, top), line, font=font, size=size, width=_ROOM)
            top -= 12
    return top


def _patient_lines(facts: ReportFacts) -> list[tuple[str, str]]:
    if facts.patients:
        return [
            (f"patient {place}", f"{readable_name(one)}, ID {one.patient_id or '-'}, born {_date(one.birth_date)}")
            for place, one in enumerate(facts.patients[:4], start=1)
        ]
    patient = facts.patient
    return [
        ("patient", readable_name(patient)),
        ("patient ID", patient.patient_id or "-"),
        ("born, sex", ", ".join(filter(None, (_date(patient.birth_date), patient.sex))) or "-"),
    ]


def _study_lines(facts: ReportFacts) -> list[tuple[str, str]]:
    study = facts.study
    none = "-" if facts.series is None else "none was usable"  # where nobody has looked yet
    lines = [
        ("study date", _date(study.study_date) if study else "-"),
        ("accession", (study.accession_number if study else "") or "-"),
        ("series", facts.series.chosen if facts.series and facts.series.chosen else none),
    ]
    described = facts.described(facts.series.chosen) if facts.series and facts.series.chosen else ""
    return [*lines, ("scanner's name", described)] if described else lines


def draw_numbers(canvas: Canvas, facts: ReportFacts, top: float) -> float:
    """Draw the numbers, or that there are none; the height below them."""
    canvas.setStrokeColor(FAINT)
    canvas.setLineWidth(0.5)
    canvas.line(MARGIN, top, RIGHT, top)
    top -= 12
    figures = _figures(facts)
    if not figures:
        return top + 4
    width = (RIGHT - MARGIN) / max(3, len(figures))
    for place, figure in enumerate(figures):
        left = MARGIN + place * width
        size = 22 if len(figures) < 4 else 18
        canvas.setFillColor(FAINT)
        draw_text(canvas, (left, top - 6), figure.name, font=FONT, size=BODY, width=width - 8)
        canvas.setFillColor(INK)
        draw_text(canvas, (left, top - 29), figure.value, font=BOLD, size=size)
        beside = left + width_of(figure.value, BOLD, size) + 0.25 * size
        draw_text(canvas, (beside, top - 29), figure.unit, font=FONT, size=BODY, width=left + width - 6 - beside)
        draw_text(canvas, (left, top - 42), figure.limits, font=FONT, size=SMALL, width=width - 8)
        canvas.setFillColor(FAINT)
        draw_text(canvas, (left, top - 52), figure.note, font=FONT, size=SMALL, width=width - 8)
    return top - 64


def _figures(facts: ReportFacts) -> list[_Figure]:
    if facts.result is None:
        return []
    figures = _ages(facts.result.brain_age)
    if facts.result.sdmt is not None:
        sdmt = facts.result.sdmt
        limits = "no interval" if sdmt.interval is None else _interval(sdmt.interval)
        figures.append(_Figure("SDMT, estimated", number(sdmt.estimate, 0), "points", limits, "not a measured score"))
    return figures


def _ages(age: BrainAge) -> list[_Figure]:
    """Return brain age, age and gap with one decimal each: as printed, the first less the second is the third."""
    figures = [_Figure("Brain age", number(age.estimate, 1), "years", _interval(age.interval))]
    known = age.chronological_age
    if known is not None:
        source = {"form": "as stated", "birth_date": "from birth and study date", "patient_age": "from PatientAge"}
        gap = round(age.estimate, 1) - round(known.years, 1)
        figures.append(_Figure("Age at the scan", number(known.years, 1), "years", source[known.source]))
        figures.append(_Figure("Gap", number(gap, 1, signed=True), "years", "brain age less age"))
    if age.gap_corrected is not None:
        limits = _interval(age.gap_corrected.interval, signed=True)
        value = number(age.gap_corrected.estimate, 1, signed=True)
        figures.append(_Figure("Corrected gap", value, "years", limits, "less what is usual at this age"))
    return figures


def draw_decision(canvas: Canvas, facts: ReportFacts, top: float) -> float:
    """Draw the decision with its reasons; the height below it."""
    lines = _reason_lines(facts)
    height = 22.0 + 12 * len(lines)
    canvas.setFillColor(HexColor("#f4f6f8"))
    canvas.rect(MARGIN, top - height, RIGHT - MARGIN, height, stroke=0, fill=1)
    canvas.setFillColor(COLOURS[facts.decision])
    canvas.rect(MARGIN, top - height, 5, height, stroke=0, fill=1)
    said = WORDS[facts.decision]
    if facts.refusal is not None and facts.result is None:
        said = f"{said} ({facts.refusal.code})"
    draw_text(canvas, (MARGIN + 14, top - 15), said, font=BOLD, size=11, width=RIGHT - MARGIN - 24)
    canvas.setFillColor(INK)
    for row, line in enumerate(lines):
        draw_text(canvas, (MARGIN + 14, top - 29 - 12 * row), line, font=FONT, size=BODY)
    return top - height - 18


def _reason_lines(facts: ReportFacts) -> list[str]:
    lines: list[str] = []
    if facts.replaces_at is not None:
        lines.append(f"This page replaces the page of {_moment(facts.replaces_at)}.")
    for place, reason in enumerate(facts.reasons):
        sentence = wrapped(reason.sentence, FONT, BODY, RIGHT - MARGIN - 24)
        if place and len(lines) + len(sentence) > MOST_LINES:
            left_out = len(facts.reasons) - place
            return [*lines, f"and {left_out} more reason{'s' if left_out > 1 else ''}, in the answer of the run"]
        lines += sentence
    return lines


def draw_footer(canvas: Canvas, facts: ReportFacts) -> None:
    """Draw the intended use, the model and the run."""
    software = facts.provenance.software.get("infovae-med3d", "") if facts.provenance else ""
    site = facts.calibrated_for
    whose = "the reference cohort" if site is None else f"healthy heads of {site}, as is the brain age"
    lines = [
        RESEARCH_USE,
        f"Model {facts.bundle.name} {facts.bundle.version}, sha256 {facts.bundle.digest}",
        f"Run {facts.run_id}, {_moment(facts.answered_at)}; InfoVAE-Med3D {software}",
    ]
    if facts.result is not None:
        lines.append(f"The intervals are prediction intervals, calibrated on {whose}.")
    canvas.setStrokeColor(FAINT)
    canvas.line(MARGIN, 68, RIGHT, 68)
    for row, line in enumerate(lines):
        canvas.setFillColor(FAINT if row else INK)
        font, size = (FONT, 7.0) if row else (BOLD, SMALL)
        draw_text(canvas, (MARGIN, 56 - 11 * row), line, font=font, size=size, width=RIGHT - MARGIN)


def _interval(interval: Interval, *, signed: bool = False) -> str:
    lower, upper = (number(limit, 0, signed=signed) for limit in (interval.lower, interval.upper))
    return f"{interval.level:.0%} interval {lower} to {upper}"


def _moment(at: datetime) -> str:
    """Write it such as 2026-01-05 09:30 (UTC+01:00)."""
    offset = at.strftime("%z").replace("-", MINUS)
    return f"{at:%Y-%m-%d %H:%M} (UTC{offset[:3]}:{offset[3:5]})"


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdecimal() else printable(text) or "-"


def readable_name(patient: PatientIdentity) -> str:
    """Return a DICOM name (PS3.5 6.2) as "Family, Given", and beside it as it is written in ideographs.

    Groups that the page has no letters for are left out; where that leaves none, it says where the name is.
    """
    alphabetic, *ideographic = patient.name.split("=")[:2]
    groups = [_group(alphabetic, ", "), *(_group(one, " ") for one in ideographic)]
    written = [one for one in groups if one and can_write(one)]
    if not written:
        return _ELSEWHERE if any(groups) else "-"
    return written[0] if len(written) == 1 else f"{written[0]} ({written[1]})"


def _group(text: str, between: str) -> str:
    family, *given = text.split("^")
    name = between.join(filter(None, (family, " ".join(filter(None, given)))))
    return " ".join("".join(one if one.isprintable() else " " for one in name).split())
