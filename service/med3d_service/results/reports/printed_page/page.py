"""The page that a radiologist reads in twenty seconds, as PDF: numbers, where they stand, why to trust them."""

import io

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from med3d_service.results.reports.facts import ReportFacts
from med3d_service.results.reports.printed_page.lettering import prepare_fonts
from med3d_service.results.reports.printed_page.page_answer import draw_decision, draw_footer, draw_header, draw_numbers
from med3d_service.results.reports.printed_page.page_evidence import (
    draw_charts,
    draw_pictures,
    draw_quality,
    draw_series,
)


def page_pdf(facts: ReportFacts) -> bytes:
    """Draw the page of an answer; the same facts give the same bytes."""
    prepare_fonts()
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1, pageCompression=1)
    canvas.setTitle("Brain age analysis")
    canvas.setAuthor("InfoVAE-Med3D")
    below = draw_decision(canvas, facts, draw_numbers(canvas, facts, draw_header(canvas, facts)))
    if facts.result is None:
        below = draw_series(canvas, facts, below)
    elif facts.cohort is not None and facts.cohort.ages:
        below = draw_charts(canvas, facts, facts.result, below)
    draw_quality(canvas, facts.quality, draw_pictures(canvas, facts, below))
    draw_footer(canvas, facts)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()
