"""Why an answer is for a person to look at, or no answer at all."""

from dataclasses import dataclass
from typing import Literal

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.manifest import DecisionLimits
from med3d_pipeline.inference.site_shifts import Correction
from med3d_pipeline.inference.yardstick import SiteYardstick, Yardstick
from med3d_pipeline.reasons import Reason, ReviewCode


@dataclass(frozen=True)
class Unlikeness:
    """How unlike the training heads one head is; reconstruction_error: None where the bundle cannot tell."""

    distance: float
    reconstruction_error: float | None

    def beyond(self, limits: DecisionLimits) -> dict[str, float]:
        """Return the first score beyond its limit, with the limit; empty where none is."""
        scores = {
            "distance": (self.distance, limits.refuse_distance),
            "reconstruction_error": (self.reconstruction_error, limits.refuse_reconstruction_error),
        }
        for name, (found, limit) in scores.items():
            if found is not None and limit is not None and found > limit:
                return {name: round(found, 3), "limit": limit}
        return {}


@dataclass(frozen=True)
class Choice:
    """What a head is held against. reasons: of the choice itself. shift_site: whose share of the latent goes out."""

    yardstick: Yardstick
    reasons: tuple[Reason, ...] = ()
    shift_site: str | None = None
    correction: Correction | None = None


def not_calibrated(site: SiteYardstick, fitness: Literal["other_scanner", "expired"]) -> Reason:
    """Tell why the calibration of a site that was stated, or whose scanner it is, does not count."""
    if fitness == "expired":
        sentence = (
            f"The calibration for {site.calibrated_for} has expired and was not applied; calibrate the site anew."
        )
        return Reason(ReviewCode.CALIBRATION_EXPIRED, sentence)
    sentence = (
        f"The calibration for {site.calibrated_for} is for another scanner ({site.scanner_in_words()}) and was not "
        "applied; calibrate this scanner with heads of its own."
    )
    return Reason(ReviewCode.CALIBRATION_OTHER_SCANNER, sentence)


LEARNED_FROM = Reason(
    ReviewCode.TRAINING_SCAN,
    "The model learned from this very scan, so its estimate looks better than that of a new one. It is left out of "
    "every figure of accuracy.",
)


def age_reasons(held_against: Yardstick, brain_age_years: float, age_years: float | None) -> list[Reason]:
    """Compare the age, or the estimate where there is none, with the ages of the calibration."""
    youngest, oldest = held_against.age_range_years
    what = "The estimated age" if age_years is None else "The subject's age"
    found = brain_age_years if age_years is None else age_years
    if youngest <= found <= oldest:
        return []
    sentence = f"{what} is outside {youngest:.0f} to {oldest:.0f} years, for which the interval was calibrated."
    return [Reason(ReviewCode.AGE_OUTSIDE_CALIBRATION, sentence)]


def unlikeness_reasons(held_against: Yardstick, percentile: float, error: float | None) -> list[Reason]:
    """Compare a head's distance, by its percentile, and its reconstruction error with the yardstick's heads."""
    limit, reasons = held_against.review_percentile, []
    than = f"than {limit:g} % of {held_against.whose}."
    if percentile > limit:
        middle = held_against.calibrated_for or "the training cohort"
        sentence = f"The head lies farther from {middle} {than}"
        reasons.append(Reason(ReviewCode.FAR_FROM_TRAINING, sentence))
    if error is not None and held_against.reconstruction_percentile(error) > limit:
        sentence = f"The model's decoder shows this head less well {than}"
        reasons.append(Reason(ReviewCode.POORLY_RECONSTRUCTED, sentence))
    return reasons


def out_of_distribution(beyond: dict[str, float], correction: Correction | None) -> InputRefused:
    """Refuse; ``details`` tell what was done about the scan's site, where the bundle corrects for sites."""
    return InputRefused(
        "out_of_distribution",
        "The head is unlike every head that the model has learned from, so a number would mean nothing. Check that the "
        "series is a T1-weighted scan of a whole adult head without large lesions or implants.",
        beyond if correction is None else {**beyond, "site_correction": correction},
    )
