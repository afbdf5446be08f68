"""What a site's own heads change, as one file can say it, and as a yardstick for the site's other heads."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, field_validator, model_validator

from med3d_pipeline.calibration.lines import Line
from med3d_pipeline.calibration.scanner import Scanner, folded
from med3d_pipeline.calibration.spreads import LogSpread
from med3d_pipeline.inference.latent_space import LatentSpace, conformal_quantile
from med3d_pipeline.inference.manifest import Sha256
from med3d_pipeline.inference.yardstick import Fitness, ScannerAttributes
from med3d_pipeline.reasons import Reason

LEAST_HEADS = 20
MOST_YEARS = 120.0
"""An age beyond it is a slip, and no two ages differ by more."""
MOST_SLOPE = 10.0
"""Years a year. At an unknown site it is a few tenths (lines.PRIOR_SLOPE); so far beyond, it is a slip."""
SiteName = Annotated[str, StringConstraints(pattern=r"^[^\W_][\w .,()+/-]{0,63}$")]
"""A label that the site chooses: shown in answers, so no identifier of anybody."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BundleName(_Section):
    """Which model it is for."""

    name: str
    version: str
    digest: Sha256


class FittedLine(_Section):
    """A Line in years."""

    centre: FiniteFloat
    offset: float = Field(ge=-MOST_YEARS, le=MOST_YEARS)
    slope: float = Field(ge=-MOST_SLOPE, le=MOST_SLOPE)
    lowest: FiniteFloat
    highest: FiniteFloat

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lowest > self.highest:
            raise ValueError("lowest must not lie above highest")
        return self

    @classmethod
    def of(cls, line: Line) -> Self:
        """Write a line down; the ends in whole years, for they are those of single heads."""
        low, high = float(np.floor(line.lowest)), float(np.ceil(line.highest))
        return cls(centre=round(line.centre, 4), offset=round(line.offset, 4), slope=round(line.slope, 5),
                   lowest=low, highest=high)  # fmt: skip

    def at(self, value: float) -> float:
        """Return the correction at ``value``."""
        return float(Line(self.centre, self.offset, self.slope, self.lowest, self.highest).at(np.array(value)))


class Spread(_Section):
    """Centre and scale of the logarithm of a distance or of a reconstruction error."""

    centre: FiniteFloat
    scale: float = Field(gt=0, allow_inf_nan=False)

    @classmethod
    def of(cls, spread: LogSpread) -> Self:
        """Write a spread down."""
        return cls(centre=round(spread.centre, 6), scale=max(round(spread.scale, 6), 1e-6))


class FitFigures(_Section):
    """How the calibration heads themselves fare, each left out in turn; years and shares of 0 to 1."""

    mean_error_before_years: float
    mean_error_after_years: float
    bias_before_years: float
    bias_after_years: float
    half_width_before_years: float
    half_width_after_years: float
    far_before: float
    far_after: float


class SiteCalibration(_Section):
    """site_calibration.json: what a site's healthy heads (of one scanner) change in one bundle's answers.

    ``age``: to be added to an estimate of the bundle. ``gap_bias``: what age alone explains of the gap, beyond what
    the bundle's own coefficients say. ``residuals_years``, ``corrected_residuals_years``: leave-one-out, absolute, in
    order of size and so nobody's in particular; intervals are the jackknife's. ``latent_shift`` (d,): where the middle
    of the heads lies from the training cohort's. ``distance``: of heads from that middle, each from the others'.
    ``reconstruction``: None where the bundle has no decoder. ``false_alarm_rate``: share of the site's healthy heads
    that each of these two is expected to mark.
    """

    format: Literal[1] = 1
    site: SiteName
    bundle: BundleName
    created: date
    expires: date
    heads: int = Field(ge=LEAST_HEADS)
    left_out: int = Field(ge=0)
    age_range_years: tuple[float, float]
    with_slope: bool
    scanner: Scanner
    age: FittedLine
    gap_bias: FittedLine
    residuals_years: tuple[FiniteFloat, ...]
    corrected_residuals_years: tuple[FiniteFloat, ...]
    latent_shift: tuple[FiniteFloat, ...]
    distance: Spread
    reconstruction: Spread | None
    false_alarm_rate: float = Field(gt=0, lt=1)
    figures: FitFigures

    @field_validator("residuals_years", "corrected_residuals_years")
    @classmethod
    def _in_order(cls, residuals: tuple[float, ...]) -> tuple[float, ...]:
        if len(residuals) < LEAST_HEADS or list(residuals) != sorted(residuals) or residuals[0] < 0:
            raise ValueError(f"must be {LEAST_HEADS} or more absolute residuals in order of size")
        return residuals

    @field_validator("age_range_years")
    @classmethod
    def _are_ages(cls, ages: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= ages[0] <= ages[1] <= MOST_YEARS:
            raise ValueError(f"must be two ages of 0 to {MOST_YEARS:.0f} years, the lower first")
        return ages

    @field_validator("created")
    @classmethod
    def _is_made(cls, created: date) -> date:
        if created > _today() + timedelta(days=1):  # a day ahead is what a clock further east may say
            raise ValueError("lies in the future by more than a day")
        return created

    def has_expired(self, today: date) -> bool:
        """Tell whether the day it is good until has passed."""
        return today > self.expires

    def to_json(self) -> str:
        """Return the file's text."""
        return self.model_dump_json(indent=1) + "\n"


class CalibratedSite:
    """A calibration as a yardstick, in the latent space of its bundle. digest: sha256 of its file; today: for tests."""

    def __init__(
        self,
        calibration: SiteCalibration,
        space: LatentSpace,
        today: Callable[[], date] | None = None,
        digest: str | None = None,
    ) -> None:
        if len(calibration.latent_shift) != space.dimension:
            raise ValueError("the calibration's latent_shift has another dimension than the bundle's latents")
        self._calibration = calibration
        self._space = space
        self._today = today or _today
        self._shift = np.asarray(calibration.latent_shift, np.float32)
        self.calibrated_for = calibration.site
        self.calibration_digest = digest
        self.whose = f"the healthy heads of {calibration.site}"
        self.review_percentile = round(100.0 * (1.0 - calibration.false_alarm_rate), 6)
        self.age_range_years = calibration.age_range_years

    def fitness(self, stated_site: str | None, acquisition: ScannerAttributes) -> Fitness:
        """Fit a scan that is stated to be of the site, or whose headers name its scanner while no site is stated.

        Never one whose headers name another scanner, whatever is stated.
        """
        scanner = self._calibration.scanner
        stated = stated_site is not None and folded(stated_site) == folded(self._calibration.site)
        if not stated and (stated_site is not None or not scanner.is_named_by(acquisition)):
            return "elsewhere"
        if scanner.contradicts(acquisition):
            return "other_scanner"
        return "expired" if self._calibration.has_expired(self._today()) else "fits"

    def scanner_in_words(self) -> str:
        """Return maker, model and field strength."""
        return self._calibration.scanner.in_words()

    def age_years(self, estimate_years: float) -> float:
        """Return the estimate with the site's offset and slope."""
        return estimate_years + self._calibration.age.at(estimate_years)

    def half_width(self, level: float) -> float:
        """Return the half width of the conformal interval from the site's leave-one-out residuals."""
        return conformal_quantile(np.array(self._calibration.residuals_years), level)

    def corrected_gap(self, gap_years: float, age_years: float) -> float:
        """Return the gap without what age explains of it at this site."""
        return self._space.corrected_gap(gap_years, age_years) - self._calibration.gap_bias.at(age_years)

    def corrected_half_width(self, level: float) -> float:
        """Return the same around a corrected gap."""
        return conformal_quantile(np.array(self._calibration.corrected_residuals_years), level)

    def distance(self, latents: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the Mahalanobis distance from the middle of the site's heads."""
        return self._space.distance(latents - self._shift)

    def percentile(self, distance: float) -> float:
        """Return the share of the site's healthy heads, in percent, that are expected nearer."""
        return self._spreads["distance"].percentile(distance)

    def reconstruction_percentile(self, error: float) -> float:
        """Return the share of them that the decoder is expected to show better; 0 where that was not calibrated."""
        spread = self._spreads.get("reconstruction")
        return 0.0 if spread is None else spread.percentile(error)

    def scanner_reasons(self, acquisition: ScannerAttributes) -> list[Reason]:  # noqa: ARG002 - what a yardstick has
        """Return none: the scan is of the scanner that was calibrated, or stated to be."""
        return []

    @cached_property
    def _spreads(self) -> dict[str, LogSpread]:
        found = self._calibration
        spreads = {"distance": found.distance, "reconstruction": found.reconstruction}
        return {name: LogSpread(s.centre, s.scale, found.heads) for name, s in spreads.items() if s is not None}


def _today() -> date:
    return datetime.now(UTC).date()
