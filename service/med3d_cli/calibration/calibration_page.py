"""The page beside a calibration: what it changes, and what more heads would give."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from med3d_cli.calibration.calibration_list import LeftOutHead
from med3d_cli.calibration.calibration_out import PAGE_TITLE
from med3d_service.cohorts.charts.svg import BLUE, GREY, RED, Chart, padded
from med3d_service.cohorts.kept_pages.sheets import drawn, render_sheet

if TYPE_CHECKING:
    from med3d_pipeline.calibration.fitting import FittedSite
    from med3d_pipeline.calibration.outlook import Outlook
Row = tuple[str, ...]
FAR_SD = 5.0
"""Of errors that are distributed normally not one in a million lies farther: a slip, or a head unlike the others."""
TYPICAL_TO_SD = 1.4826
"""From the median of absolute errors to their standard deviation, where they are distributed normally."""
LEAST_SD_YEARS = 3.0
"""No model errs less, so that heads which agree by chance make none of the others suspect."""


def calibration_page(
    fitted: "FittedSite", prospects: "Sequence[Outlook]", level: float, left_out: Sequence[LeftOutHead]
) -> str:
    """Render the page, which fetches nothing. Its points are persons' ages: it stays at the site."""
    return render_sheet(
        "calibration.html",
        package="med3d_cli.calibration",
        title=f"{PAGE_TITLE}{fitted.calibration.site}",
        made=fitted.calibration,
        changes=_changes(fitted, level),
        cautions=cautions(fitted),
        charts=(
            drawn(
                estimates_chart(fitted),
                "Grey: the model alone. Blue: calibrated, each head by the others. Dashed: equal.",
            ),
            drawn(
                prospects_chart(prospects, level),
                "Expected of new heads of this scanner, by drawing sites like this one.",
            ),
        ),
        half_width=_half_width(level),
        prospects=_prospects(prospects),
        left_out=_left_out(left_out),
    )


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
    """Draw mean error and half width of the interval against the number of heads."""
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


def _changes(fitted: "FittedSite", level: float) -> Sequence[Row]:
    made, figures = fitted.calibration, fitted.calibration.figures
    slope = f"{1 + made.age.slope:.2f}" if made.with_slope else "1"
    return (
        ("mean error", f"{figures.mean_error_before_years:.1f} years", f"{figures.mean_error_after_years:.1f} years"),
        ("bias", f"{figures.bias_before_years:+.1f} years", f"{figures.bias_after_years:+.1f} years"),
        (
            _half_width(level),
            f"{figures.half_width_before_years:.1f} years",
            f"{figures.half_width_after_years:.1f} years",
        ),
        ("heads marked as far from training", f"{figures.far_before:.0%}", f"{figures.far_after:.0%}"),
        (f"added at {made.age.centre:.0f} years", "0", f"{made.age.offset:+.1f} years"),
        ("years of age for a year of the estimate", "1", slope),
    )


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
    errors = abs(found.brain_ages - found.ages)
    usual = max(TYPICAL_TO_SD * float(np.median(errors)), LEAST_SD_YEARS)
    said += [
        f"The head stated as {age:.0f} years old lies {error:.0f} years from that age, calibrated by the others, whose "
        f"errors are of {usual:.0f}: look whether the age is right, for one slip moves every answer."
        for age, error in zip(found.ages, errors, strict=True)
        if error > FAR_SD * usual
    ]
    return said


def _half_width(level: float) -> str:
    return f"half width of the {100 * level:.0f} % interval"


def _prospects(prospects: "Sequence[Outlook]") -> Sequence[Row]:
    return tuple(
        (
            str(one.heads),
            f"{one.mean_error_years:.1f} years ({one.error_low_years:.1f} to {one.error_high_years:.1f})",
            f"{one.half_width_years:.1f} years",
        )
        for one in prospects
    )


def _left_out(left_out: Sequence[LeftOutHead]) -> Sequence[Row]:
    counts = Counter(one.code for one in left_out)
    return tuple(
        (code, str(count), ", ".join(str(one.row) for one in left_out if one.code == code))
        for code, count in counts.items()
    )
