"""The page beside a calibration: what it changes, and what more heads would give."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from med3d_cli.studies.calibration_list import LeftOutHead
from med3d_cli.studies.calibration_out import PAGE_TITLE
from med3d_service.cohorts.svg import BLUE, GREY, RED, Chart, padded

if TYPE_CHECKING:
    from med3d_pipeline.calibration.fitting import FittedSite
    from med3d_pipeline.calibration.outlook import Outlook

STYLE = """
body { font: 15px/1.45 Helvetica, Arial, sans-serif; color: #1d2733; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0.2rem } h2 { font-size: 1.15rem; margin-top: 1.6rem }
table { border-collapse: collapse; margin: 0.6rem 0 } th, td { text-align: right; padding: 0.2rem 1.2rem 0.2rem 0 }
th { font-weight: 600; border-bottom: 1px solid #66727f } td:first-child, th:first-child { text-align: left }
.note { color: #66727f; font-size: 0.9rem } .notable { color: #c8102e }
.charts { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 460px }
figcaption { font-size: 0.9rem; color: #66727f }
"""
KEEP_HERE = (
    "The points are the ages of persons: keep this page at the site. The calibration itself holds no row of any person."
)


def calibration_page(
    fitted: "FittedSite", prospects: "Sequence[Outlook]", level: float, left_out: Sequence[LeftOutHead]
) -> str:
    """The page, which fetches nothing. Its points are persons' ages: it stays at the site."""
    made = fitted.calibration
    title = escape(f"{PAGE_TITLE}{made.site}")
    said = (
        f"{made.heads} healthy heads ({escape(made.scanner.in_words())}), {made.age_range_years[0]:.0f} to "
        f"{made.age_range_years[1]:.0f} years. Model {escape(made.bundle.name)} {escape(made.bundle.version)} "
        f"({made.bundle.digest[:12]}). Made {made.created}, good until {made.expires}. Research use; not a medical "
        "device."
    )
    figures = (
        _figure(
            estimates_chart(fitted), "Grey: the model alone. Blue: calibrated, each head by the others. Dashed: equal."
        ),
        _figure(
            prospects_chart(prospects, level), "Expected of new heads of this scanner, by drawing sites like this one."
        ),
    )
    parts = (
        f'<h1>{title}</h1><p class="note">{said}</p>',
        "<h2>What it changes</h2>",
        _changes(fitted, level),
        *(f'<p class="notable">{escape(sentence)}</p>' for sentence in cautions(fitted)),
        f'<div class="charts">{"".join(figures)}</div>',
        "<h2>What more heads would give</h2>",
        _prospects(prospects, level),
        _left_out(left_out),
        f'<p class="note">{KEEP_HERE}</p>',
    )
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def estimates_chart(fitted: "FittedSite") -> str:
    """Estimate against stated age, before and after."""
    found = fitted.left_out
    ages = [float(age) for age in found.ages]
    before, after = ([float(years) for years in values] for values in (found.estimates, found.brain_ages))
    span = padded([*ages, *before, *after])
    chart = Chart(padded(ages), span, "stated age (years)", "brain age (years)")
    chart.line([(span[0], span[0]), (span[1], span[1])], dashed=True)
    for age, old, new in zip(ages, before, after, strict=True):
        chart.line([(age, old), (age, new)], GREY, width=0.7)
    chart.points(list(zip(ages, before, strict=True)), GREY)
    chart.points(list(zip(ages, after, strict=True)), BLUE)
    return chart.svg("Brain age against stated age, before and after calibration")


def prospects_chart(prospects: "Sequence[Outlook]", level: float) -> str:
    """Mean error and half width of the interval against the number of heads."""
    heads = [float(one.heads) for one in prospects]
    errors = [(x, one.mean_error_years) for x, one in zip(heads, prospects, strict=True)]
    widths = [(x, one.half_width_years) for x, one in zip(heads, prospects, strict=True)]
    highest = max(width for _, width in widths)
    chart = Chart((0, max(heads) * 1.08), (0, highest * 1.18), "heads to calibrate on", "years")
    for points, colour in ((widths, RED), (errors, BLUE)):
        chart.line(points, colour)
        chart.points(points, colour)
    for one, x in zip(prospects, heads, strict=True):
        chart.whisker(x, one.error_low_years, one.error_high_years)
    chart.label(widths[0], f"half width of the {100 * level:.0f} % interval", RED)
    chart.label((errors[0][0], prospects[0].error_high_years), "mean error (bar: 8 of 10 sets of heads)", BLUE)
    return chart.svg("Expected error and interval by number of heads")


def _changes(fitted: "FittedSite", level: float) -> str:
    made, figures = fitted.calibration, fitted.calibration.figures
    slope = f"{1 + made.age.slope:.2f}" if made.with_slope else "1"
    rows = (
        ("mean error", f"{figures.mean_error_before_years:.1f} years", f"{figures.mean_error_after_years:.1f} years"),
        ("bias", f"{figures.bias_before_years:+.1f} years", f"{figures.bias_after_years:+.1f} years"),
        (
            f"half width of the {100 * level:.0f} % interval",
            f"{figures.half_width_before_years:.1f} years",
            f"{figures.half_width_after_years:.1f} years",
        ),
        ("heads marked as far from training", f"{figures.far_before:.0%}", f"{figures.far_after:.0%}"),
        (f"added at {made.age.centre:.0f} years", "0", f"{made.age.offset:+.1f} years"),
        ("years of age for a year of the estimate", "1", slope),
    )
    return _table(("", "model alone", "calibrated"), rows)


def cautions(fitted: "FittedSite") -> list[str]:
    """Return what whoever uses the calibration should know of its weakness, in sentences."""
    found, made = fitted.left_out, fitted.calibration
    said = []
    if not made.with_slope:
        said.append("The ages lie too close together for a slope: the offset alone was fitted.")
    guess = float(abs(found.ages - found.ages.mean()).mean())
    if made.figures.mean_error_after_years >= guess:
        said.append(
            f"Guessing the mean age of these heads would be wrong by {guess:.1f} years, no more than the calibrated "
            "model: at this scanner, over these ages, its numbers tell little of one person."
        )
    return said


def _prospects(prospects: "Sequence[Outlook]", level: float) -> str:
    rows = tuple(
        (
            str(one.heads),
            f"{one.mean_error_years:.1f} years ({one.error_low_years:.1f} to {one.error_high_years:.1f})",
            f"{one.half_width_years:.1f} years",
        )
        for one in prospects
    )
    note = (
        "Drawn from the fit of these heads, so it is as good as that: a guess where they are few, and silent about "
        "heads of another kind. In brackets: eight of ten sets of heads."
    )
    return (
        _table(("heads", "mean error", f"half width of the {100 * level:.0f} % interval"), rows)
        + f'<p class="note">{note}</p>'
    )


def _left_out(left_out: Sequence[LeftOutHead]) -> str:
    if not left_out:
        return ""
    counts = Counter(one.code for one in left_out)
    rows = tuple(
        (code, str(count), ", ".join(str(one.row) for one in left_out if one.code == code))
        for code, count in counts.items()
    )
    return "<h2>Heads left out</h2>" + _table(("why", "heads", "rows of the list"), rows)


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
