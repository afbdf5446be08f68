"""From a site's healthy heads to its calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from med3d_pipeline.calibration.lines import Line, fit_line, left_out_lines
from med3d_pipeline.calibration.refusals import CalibrationCode, CalibrationRefused
from med3d_pipeline.calibration.scanner import scanners_of
from med3d_pipeline.calibration.site_calibration import (
    LEAST_HEADS,
    MOST_SLOPE,
    MOST_YEARS,
    BundleName,
    FitFigures,
    FittedLine,
    SiteCalibration,
    SiteName,
    Spread,
)
from med3d_pipeline.calibration.spreads import LogSpread
from med3d_pipeline.inference.latent_space import LatentSpace, conformal_quantile
from med3d_pipeline.inference.manifest import DecisionLimits
from med3d_pipeline.inference.prediction import Sighting
from med3d_pipeline.inference.yardstick import ScannerAttributes

Floats = npt.NDArray[np.float64]
LEAST_AGE_SPAN_YEARS = 5.0
"""Between the 10th and the 90th percentile. Below it nobody of another age could be answered."""
SLOPE_AGE_SPAN_YEARS = 15.0
"""Below it, the errors of about 7 years that an estimate has hide what a slope is: the offset alone is fitted."""
VALID_DAYS = 365


@dataclass(frozen=True)
class CalibrationHead:
    """A healthy person's head: what the bundle sees of it, and the age in years that is known.

    age_doubted: the headers tell another age.
    """

    sighting: Sighting
    age_years: float
    acquisition: ScannerAttributes
    age_doubted: bool = False


@dataclass(frozen=True)
class Bearings:
    """The bundle's part: which one it is, its latent space, its limits."""

    bundle: BundleName
    space: LatentSpace
    limits: DecisionLimits


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Each head (n,) as the others' calibration sees it: ages, estimates and brain ages in years."""

    ages: Floats
    estimates: Floats
    brain_ages: Floats
    distances: Floats


@dataclass(frozen=True, eq=False)
class FittedSite:
    """A calibration, and what came of its own heads, for the page that shows it."""

    calibration: SiteCalibration
    left_out: LeftOut


def fit_site(
    heads: Sequence[CalibrationHead],
    site: str,
    bearings: Bearings,
    created: date,
    *,
    left_out: int = 0,
    valid_days: int = VALID_DAYS,
) -> FittedSite:
    """Fit one scanner's calibration from healthy heads that passed the quality gate.

    left_out: how many others there were that could not be used. Raises CalibrationRefused where the heads are too few,
    of too narrow ages, of several scanners, or their ages have nothing to do with the estimates.
    """
    check_name(site)
    ages = np.array([head.age_years for head in heads])
    estimates = np.array([head.sighting.estimate_years for head in heads])
    check_number(len(heads), left_out)
    with_slope = _check_ages(ages, estimates)
    scanners = scanners_of([head.acquisition for head in heads])
    refuse_several_scanners([scanner.in_words() for scanner in scanners])
    age = fit_line(estimates, ages - estimates, with_slope=with_slope)
    brain_ages = estimates + _left_out_corrections(estimates, ages - estimates, with_slope=with_slope)
    bias, corrected = _gap_bias(ages, brain_ages - ages, bearings.space, with_slope=with_slope)
    _check_lines(age, bias)
    latents = np.stack([head.sighting.latent for head in heads])
    found = LeftOut(ages, estimates, brain_ages, left_out_distances(latents, bearings.space))
    residuals = np.sort(np.abs(brain_ages - ages))
    calibration = SiteCalibration(
        site=site,
        bundle=bearings.bundle,
        created=created,
        expires=created + timedelta(days=valid_days),
        heads=len(heads),
        left_out=left_out,
        age_range_years=(float(np.floor(ages.min())), float(np.ceil(ages.max()))),
        with_slope=with_slope,
        scanner=scanners[0],
        age=FittedLine.of(age),
        gap_bias=FittedLine.of(bias),
        residuals_years=_rounded(residuals, 3),
        corrected_residuals_years=_rounded(np.sort(np.abs(corrected)), 3),
        latent_shift=_rounded(latents.mean(axis=0, dtype=np.float64) - bearings.space.distance_mean, 7),
        distance=Spread.of(LogSpread.of(found.distances)),
        reconstruction=_reconstruction(heads),
        false_alarm_rate=round(1 - bearings.limits.review_percentile / 100, 6),
        figures=_figures(found, latents, residuals, bearings),
    )
    return FittedSite(calibration, found)


def left_out_distances(latents: npt.NDArray[np.float32], space: LatentSpace) -> Floats:
    """Return how far each of ``latents`` (n, d) lies from the middle of all others (n,)."""
    count, total = len(latents), latents.sum(axis=0, dtype=np.float64)
    middles = (total - latents) / (count - 1)
    return space.distance((latents - middles + space.distance_mean).astype(np.float32))


def _gap_bias(ages: Floats, gaps: Floats, space: LatentSpace, *, with_slope: bool) -> tuple[Line, Floats]:
    """Return what age explains of gaps (n,) beyond the bundle's own word, and gaps without it, each by the others."""
    beyond = np.array([space.corrected_gap(gap, age) for gap, age in zip(gaps, ages, strict=True)])
    explained = _left_out_corrections(ages, beyond, with_slope=with_slope)
    return fit_line(ages, beyond, with_slope=with_slope), beyond - explained


def _left_out_corrections(x: Floats, y: Floats, *, with_slope: bool) -> Floats:
    """Return what the line of all others says of each head (n,)."""
    lines = left_out_lines(x, y, with_slope=with_slope)
    return np.array([float(line.at(place)) for place, line in zip(x, lines, strict=True)])


def _reconstruction(heads: Sequence[CalibrationHead]) -> Spread | None:
    errors = [head.sighting.reconstruction_error for head in heads]
    known = [error for error in errors if error is not None]
    return Spread.of(LogSpread.of(np.array(known))) if len(known) == len(heads) else None


def _figures(found: LeftOut, latents: npt.NDArray[np.float32], residuals: Floats, bearings: Bearings) -> FitFigures:
    before, after = found.estimates - found.ages, found.brain_ages - found.ages
    space, limits = bearings.space, bearings.limits
    far_before = [space.percentile(float(d)) > limits.review_percentile for d in space.distance(latents)]
    spread = LogSpread.of(found.distances)
    far_after = [spread.percentile(float(d)) > limits.review_percentile for d in found.distances]
    numbers = {
        "mean_error_before_years": np.abs(before).mean(),
        "mean_error_after_years": np.abs(after).mean(),
        "bias_before_years": before.mean(),
        "bias_after_years": after.mean(),
        "half_width_before_years": space.half_width(limits.interval_level),
        "half_width_after_years": conformal_quantile(residuals, limits.interval_level),
        "far_before": np.mean(far_before),
        "far_after": np.mean(far_after),
    }
    return FitFigures(**{name: round(float(number), 4) for name, number in numbers.items()})


def _rounded(values: Floats, digits: int) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)


def check_name(site: str) -> None:
    """Raise CalibrationRefused where ``site`` is no label."""
    try:
        TypeAdapter(SiteName).validate_python(site)
    except ValidationError as error:
        raise CalibrationRefused(
            CalibrationCode.BAD_NAME,
            "A site's name has 1 to 64 characters (letters, digits, spaces and . , ( ) + / -) and begins with a letter "
            "or digit. Choose one that names no person.",
        ) from error


def check_number(count: int, left_out: int) -> None:
    """Raise CalibrationRefused where ``count`` heads are too few; ``left_out`` more cannot be used."""
    if count >= LEAST_HEADS:
        return
    others = f" ({left_out} more could not be used)" if left_out else ""
    raise CalibrationRefused(
        CalibrationCode.TOO_FEW_HEADS,
        f"There are {count} healthy heads with an age{others}; a calibration needs {LEAST_HEADS}. Add heads of the "
        "same scanner; those that could not be used are listed with the reason.",
        {"heads": count, "left_out": left_out},
    )


def _check_ages(ages: Floats, estimates: Floats) -> bool:
    """Return whether the ages lie far enough apart for a slope. Raises CalibrationRefused."""
    low, high = np.percentile(ages, [10, 90])
    if high - low < LEAST_AGE_SPAN_YEARS:
        raise CalibrationRefused(
            CalibrationCode.AGES_TOO_NARROW,
            f"Eight of ten heads are {low:.1f} to {high:.1f} years old, which says nothing of people of other ages. "
            f"Add heads until these ages lie at least {LEAST_AGE_SPAN_YEARS:g} years apart, better "
            f"{SLOPE_AGE_SPAN_YEARS:g}.",
            {"from_years": round(float(low), 1), "to_years": round(float(high), 1)},
        )
    if high - low < SLOPE_AGE_SPAN_YEARS:
        return False
    r = float(np.corrcoef(ages, estimates)[0, 1]) if estimates.std() > 0 else 0.0
    if r <= 0:
        raise CalibrationRefused(
            CalibrationCode.AGES_UNRELATED,
            f"The heads' estimates do not rise with their ages (correlation {r:.2f}). Check that each age stands "
            "beside its own head, and that the ages are those at the scan.",
            {"correlation": round(r, 3)},
        )
    return True


def _check_lines(*lines: Line) -> None:
    """Raise CalibrationRefused where one corrects by more than any calibration may."""
    if all(abs(line.offset) <= MOST_YEARS and abs(line.slope) <= MOST_SLOPE for line in lines):
        return
    raise CalibrationRefused(
        CalibrationCode.AGES_UNRELATED,
        f"The estimates lie so far from the ages that a correction of more than {MOST_YEARS:.0f} years, or of more "
        f"than {MOST_SLOPE:.0f} years a year, would be needed. Look whether the ages are in years, and each stands "
        "beside its own head.",
    )


def refuse_several_scanners(names: list[str]) -> None:
    """Raise CalibrationRefused where ``names`` are of more than one scanner."""
    if len(names) > 1:
        raise CalibrationRefused(
            CalibrationCode.SEVERAL_SCANNERS,
            f"The heads come from {len(names)} scanners ({'; '.join(names)}). Calibrate each scanner on its own.",
            {"scanners": names},
        )
