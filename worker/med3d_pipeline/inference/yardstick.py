"""What an answer is held against: the cohort of the training, or a site's own healthy heads in its place."""

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_pipeline.inference.manifest import DecisionLimits
from med3d_pipeline.reasons import Reason, ReviewCode

Fitness = Literal["fits", "elsewhere", "other_scanner", "expired"]


class ScannerAttributes(Protocol):
    """What the decision asks of an acquisition; None where the headers do not say."""

    @property
    def field_strength_t(self) -> float | None:
        """Tesla."""

    @property
    def manufacturer(self) -> str | None:
        """As DICOM (0008,0070) has it."""

    @property
    def model(self) -> str | None:
        """As DICOM (0008,1090) has it."""


class Yardstick(Protocol):
    """Turns what the networks say of a head into years, intervals and reasons to look."""

    @property
    def calibrated_for(self) -> str | None:
        """The site whose own heads it is made of; None: the training cohort."""

    @property
    def calibration_digest(self) -> str | None:
        """sha256 of that calibration's file; None where there is none."""

    @property
    def whose(self) -> str:
        """Whom a head is compared with, in words that follow "than 98 % of"."""

    @property
    def review_percentile(self) -> float:
        """Beyond it a head is for a person to look at; percent."""

    @property
    def age_range_years(self) -> tuple[float, float]:
        """Youngest and oldest person of the calibration."""

    def age_years(self, estimate_years: float) -> float:
        """Return the brain age that the head's estimate stands for."""

    def half_width(self, level: float) -> float:
        """Return half width in years of the interval around a brain age."""

    def corrected_gap(self, gap_years: float, age_years: float) -> float:
        """Return the gap without what age alone explains of it."""

    def corrected_half_width(self, level: float) -> float:
        """Return half width in years of the interval around such a gap."""

    def distance(self, latents: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Tell how far latents (N, d) lie from the middle of the yardstick's heads."""

    def percentile(self, distance: float) -> float:
        """Return share of the yardstick's heads, in percent, that lie nearer."""

    def reconstruction_percentile(self, error: float) -> float:
        """Return share of them, in percent, whom the decoder shows better."""

    def scanner_reasons(self, acquisition: ScannerAttributes) -> list[Reason]:
        """Tell why the scanner may not be one that the interval was calibrated for."""


class SiteYardstick(Yardstick, Protocol):
    """One site's."""

    def fitness(self, stated_site: str | None, acquisition: ScannerAttributes) -> Fitness:
        """Tell whether it is for a scan whose site is stated so (None: not told) and that was acquired so."""

    def scanner_in_words(self) -> str:
        """Tell which scanner it is for."""


class TrainingYardstick:
    """The bundle's own."""

    calibrated_for = None
    calibration_digest = None
    whose = "the subjects held out of training"

    def __init__(self, space: LatentSpace, limits: DecisionLimits) -> None:
        self.review_percentile = limits.review_percentile
        self.age_range_years = space.age_range_years
        self.half_width = space.half_width
        self.corrected_gap = space.corrected_gap
        self.corrected_half_width = space.corrected_half_width
        self.distance = space.distance
        self.percentile = space.percentile
        self.reconstruction_percentile = space.reconstruction_percentile
        self._space = space
        self._tolerance_t = limits.field_strength_tolerance_t

    def age_years(self, estimate_years: float) -> float:
        """Return the estimate as it is."""
        return estimate_years

    def scanner_reasons(self, acquisition: ScannerAttributes) -> list[Reason]:
        """Compare field strength and vendor with those of the training."""
        return [*self._field_strength_reasons(acquisition), *self._vendor_reasons(acquisition)]

    def _field_strength_reasons(self, acquisition: ScannerAttributes) -> list[Reason]:
        strengths = sorted(float(strength) for strength in self._space.field_strengths_t)
        known = " or ".join(f"{strength:g} T" for strength in strengths)
        found = acquisition.field_strength_t
        if found is None:
            sentence = f"The field strength is not stated; the interval was calibrated at {known} only."
            return [Reason(ReviewCode.FIELD_STRENGTH_UNKNOWN, sentence)]
        if any(abs(found - strength) <= self._tolerance_t for strength in strengths):
            return []
        sentence = f"The interval was calibrated at {known}, not {found:g} T."
        return [Reason(ReviewCode.FIELD_STRENGTH_OUTSIDE_CALIBRATION, sentence)]

    def _vendor_reasons(self, acquisition: ScannerAttributes) -> list[Reason]:
        vendors = [str(vendor) for vendor in self._space.vendors]
        maker = (acquisition.manufacturer or "").upper()
        if any(vendor in maker for vendor in vendors):
            return []
        what = "The scanner is another vendor's" if maker else "The scanner's vendor is not known"
        sentence = f"{what}; the interval was calibrated on {', '.join(vendors)}."
        return [Reason(ReviewCode.VENDOR_OUTSIDE_CALIBRATION, sentence)]
