"""From tensors to predictions: estimates, intervals, distance from the training cohort, and the decision."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.encoder import Float32, LatentEncoder
from med3d_pipeline.inference.heads import RegressionHead
from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_pipeline.inference.manifest import SIMULATED_LABELS, DecisionLimits
from med3d_pipeline.inference.reconstruction import Reconstruction
from med3d_pipeline.inference.site_shifts import Correction, SiteShifts
from med3d_pipeline.reasons import Reason, ReviewCode

SDMT_RANGE_POINTS = (0.0, 110.0)


@dataclass(frozen=True)
class SubjectAttributes:
    """What may be known of the subject: age at the scan in years, sex F or M, the site as a manifest names it."""

    age_years: float | None = None
    sex: str | None = None
    scan_site: str | None = None


class ScannerAttributes(Protocol):
    """What the decision asks of an acquisition; None where the headers do not say."""

    @property
    def field_strength_t(self) -> float | None:
        """Tesla."""

    @property
    def manufacturer(self) -> str | None:
        """As DICOM (0008,0070) has it."""


@dataclass(frozen=True)
class PredictionInterval:
    """Holds the truth with probability ``level`` for subjects like those of the calibration."""

    level: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PointEstimate:
    """A number and its interval, in years."""

    estimate: float
    interval: PredictionInterval


@dataclass(frozen=True)
class SdmtEstimate:
    """Estimated SDMT in points; ``evidence`` says what labels the head learned from."""

    estimate: float
    interval: PredictionInterval | None
    evidence: str


@dataclass(frozen=True)
class MapCoordinates:
    """The latent on the bundle's two-dimensional maps."""

    pca: tuple[float, float]
    pls_age: tuple[float, float]
    pls_sdmt: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Prediction:
    """One subject's answer. Ages and gaps in years; ``gap`` = estimate - age, None where the age is unknown.

    latent: (d,) float32, without the site's shift where the bundle takes that out, as site_correction tells; None: it
    takes out no site's. distance and percentile: see LatentSpace. reasons: why the decision is ``review``, empty
    where it is ``accepted``.
    """

    brain_age: PointEstimate
    gap: PointEstimate | None
    gap_corrected: PointEstimate | None
    sdmt: SdmtEstimate | None
    latent: npt.NDArray[np.float32]
    map: MapCoordinates
    distance: float
    percentile: float
    decision: Literal["accepted", "review"]
    reasons: tuple[Reason, ...]
    site_correction: Correction | None = None


class Predictor:
    """Encodes in one batch, then answers for each subject on its own."""

    def __init__(
        self,
        encoder: LatentEncoder,
        brain_age: RegressionHead,
        sdmt: RegressionHead | None,
        sdmt_evidence: str | None,
        space: LatentSpace,
        limits: DecisionLimits,
        reconstruction: Reconstruction | None = None,
        site_shifts: SiteShifts | None = None,
    ) -> None:
        self._encoder = encoder
        self._brain_age = brain_age
        self._sdmt = sdmt
        self._sdmt_evidence = sdmt_evidence
        self._space = space
        self._limits = limits
        self._reconstruction = reconstruction
        self._site_shifts = site_shifts

    @property
    def providers(self) -> tuple[str, ...]:
        """What the encoder's session computes with, first choice first."""
        return self._encoder.providers

    @property
    def space(self) -> LatentSpace:
        """The latent space that predictions are placed in."""
        return self._space

    def predict(
        self,
        tensors: Float32,
        subjects: Sequence[SubjectAttributes],
        acquisitions: Sequence[ScannerAttributes],
        review_reasons: Sequence[Sequence[Reason]] | None = None,
    ) -> list[Prediction | InputRefused]:
        """Answer for each of N tensors (N, X, Y, Z) float32.

        ``review_reasons`` carries what is already known per subject, such as a tie between two series. One that lies
        beyond the bundle's limits is answered by an InputRefused with code ``out_of_distribution`` in its place, so
        that it costs its neighbours nothing. Raises ValueError where the lengths differ, InferenceError where a tensor,
        a latent or an estimate is not finite.
        """
        earlier = review_reasons if review_reasons is not None else [()] * len(tensors)
        seen = self._encoder.encode(tensors)
        latents = self._without_sites(seen, subjects)
        ages = self._brain_age.estimate(latents)
        sdmt = self._sdmt.estimate(latents) if self._sdmt else np.full(len(latents), np.nan, np.float32)
        unlike = self._unlikeness(tensors, seen, latents)
        return [
            self._answer(latent, float(age), float(points), strange, subject, acquisition, tuple(reasons))
            for latent, age, points, strange, subject, acquisition, reasons in zip(
                latents, ages, sdmt, unlike, subjects, acquisitions, earlier, strict=True
            )
        ]

    def _without_sites(self, latents: Float32, subjects: Sequence[SubjectAttributes]) -> Float32:
        if self._site_shifts is None or not len(latents):
            return latents
        return self._site_shifts.corrected(latents, [subject.scan_site for subject in subjects])

    def _unlikeness(self, tensors: Float32, seen: Float32, latents: Float32) -> list["_Unlikeness"]:
        """Of latents without their sites; the decoder shows what the encoder has ``seen``."""
        distances = self._space.distance(latents)
        errors = self._reconstruction.errors(tensors, seen) if self._reconstruction else [None] * len(latents)
        return [
            _Unlikeness(float(distance), None if error is None else float(error))
            for distance, error in zip(distances, errors, strict=True)
        ]

    def _answer(
        self,
        latent: npt.NDArray[np.float32],
        age_estimate: float,
        sdmt_estimate: float,
        unlike: "_Unlikeness",
        subject: SubjectAttributes,
        acquisition: ScannerAttributes,
        reasons: tuple[Reason, ...],
    ) -> Prediction | InputRefused:
        beyond = unlike.beyond(self._limits)
        correction = None if self._site_shifts is None else self._site_shifts.correction(subject.scan_site)
        if beyond:
            return _out_of_distribution(beyond, correction)
        reasons = (
            *([] if self._site_shifts is None else self._site_shifts.reasons(subject.scan_site)),
            *reasons,
            *self._age_reasons(age_estimate, subject.age_years),
            *self._scanner_reasons(acquisition),
            *self._unlikeness_reasons(unlike),
        )
        brain_age = self._around(age_estimate, self._space.half_width(self._limits.interval_level))
        gap, corrected = self._gaps(brain_age, subject.age_years)
        return Prediction(
            brain_age=brain_age,
            gap=gap,
            gap_corrected=corrected,
            sdmt=self._sdmt_estimate(sdmt_estimate),
            latent=latent,
            map=self._coordinates(latent),
            distance=unlike.distance,
            percentile=self._space.percentile(unlike.distance),
            decision="review" if reasons else "accepted",
            reasons=reasons,
            site_correction=correction,
        )

    def _around(self, estimate: float, half_width: float) -> PointEstimate:
        level = self._limits.interval_level
        return PointEstimate(estimate, PredictionInterval(level, estimate - half_width, estimate + half_width))

    def _gaps(
        self, brain_age: PointEstimate, age_years: float | None
    ) -> tuple[PointEstimate | None, PointEstimate | None]:
        if age_years is None:
            return None, None
        gap = brain_age.estimate - age_years
        interval = brain_age.interval
        shifted = PredictionInterval(interval.level, interval.lower - age_years, interval.upper - age_years)
        corrected = self._space.corrected_gap(gap, age_years)
        half_width = self._space.corrected_half_width(self._limits.interval_level)
        return PointEstimate(gap, shifted), self._around(corrected, half_width)

    def _sdmt_estimate(self, points: float) -> SdmtEstimate | None:
        if self._sdmt is None or self._sdmt_evidence is None or math.isnan(points):
            return None
        estimate = _within_sdmt(points)
        return SdmtEstimate(estimate, self._sdmt_interval(estimate), self._sdmt_evidence)

    def _sdmt_interval(self, estimate: float) -> PredictionInterval | None:
        """None for a head on simulated labels: an interval would promise what nobody measured."""
        half_width = self._space.sdmt_half_width(self._limits.interval_level)
        if self._sdmt_evidence == SIMULATED_LABELS or not math.isfinite(half_width):
            return None
        lower, upper = _within_sdmt(estimate - half_width), _within_sdmt(estimate + half_width)
        return PredictionInterval(self._limits.interval_level, lower, upper)

    def _coordinates(self, latent: npt.NDArray[np.float32]) -> MapCoordinates:
        space, row = self._space, latent[None]
        return MapCoordinates(
            pca=_pair(space.pca(row)),
            pls_age=_pair(space.pls_age(row)),
            pls_sdmt=_pair(space.pls_sdmt(row)) if space.has_sdmt else None,
        )

    def _age_reasons(self, age_estimate: float, age_years: float | None) -> list[Reason]:
        youngest, oldest = self._space.age_range_years
        if age_years is not None and not youngest <= age_years <= oldest:
            return [_age_reason("The subject's age", youngest, oldest)]
        if age_years is None and not youngest <= age_estimate <= oldest:
            return [_age_reason("The estimated age", youngest, oldest)]
        return []

    def _scanner_reasons(self, acquisition: ScannerAttributes) -> list[Reason]:
        reasons = []
        strengths = sorted(float(strength) for strength in self._space.field_strengths_t)
        known = " or ".join(f"{strength:g} T" for strength in strengths)
        found = acquisition.field_strength_t
        if found is None:
            sentence = f"The field strength is not stated; the interval was calibrated at {known} only."
            reasons.append(Reason(ReviewCode.FIELD_STRENGTH_UNKNOWN, sentence))
        elif not any(abs(found - strength) <= self._limits.field_strength_tolerance_t for strength in strengths):
            sentence = f"The interval was calibrated at {known}, not {found:g} T."
            reasons.append(Reason(ReviewCode.FIELD_STRENGTH_OUTSIDE_CALIBRATION, sentence))
        vendors = [str(vendor) for vendor in self._space.vendors]
        maker = (acquisition.manufacturer or "").upper()
        if not any(vendor in maker for vendor in vendors):
            what = "The scanner is another vendor's" if maker else "The scanner's vendor is not known"
            sentence = f"{what}; the interval was calibrated on {', '.join(vendors)}."
            reasons.append(Reason(ReviewCode.VENDOR_OUTSIDE_CALIBRATION, sentence))
        return reasons

    def _unlikeness_reasons(self, unlike: "_Unlikeness") -> list[Reason]:
        limit, reasons = self._limits.review_percentile, []
        than = f"than {limit:g} % of the subjects held out of training."
        if self._space.percentile(unlike.distance) > limit:
            sentence = f"The head lies farther from the training cohort {than}"
            reasons.append(Reason(ReviewCode.FAR_FROM_TRAINING, sentence))
        error = unlike.reconstruction_error
        if error is not None and self._space.reconstruction_percentile(error) > limit:
            sentence = f"The model's decoder shows this head less well {than}"
            reasons.append(Reason(ReviewCode.POORLY_RECONSTRUCTED, sentence))
        return reasons


@dataclass(frozen=True)
class _Unlikeness:
    """How unlike the training heads one head is; reconstruction_error: None where the bundle cannot tell."""

    distance: float
    reconstruction_error: float | None

    def beyond(self, limits: DecisionLimits) -> dict[str, float]:
        """The first score beyond its limit, with the limit; empty where none is."""
        scores = {
            "distance": (self.distance, limits.refuse_distance),
            "reconstruction_error": (self.reconstruction_error, limits.refuse_reconstruction_error),
        }
        for name, (found, limit) in scores.items():
            if found is not None and limit is not None and found > limit:
                return {name: round(found, 3), "limit": limit}
        return {}


def _within_sdmt(points: float) -> float:
    low, high = SDMT_RANGE_POINTS
    return min(max(points, low), high)


def _age_reason(what: str, youngest: float, oldest: float) -> Reason:
    sentence = f"{what} is outside {youngest:.0f} to {oldest:.0f} years, for which the interval was calibrated."
    return Reason(ReviewCode.AGE_OUTSIDE_CALIBRATION, sentence)


def _pair(coordinates: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(coordinates[0, 0]), float(coordinates[0, 1])


def _out_of_distribution(beyond: dict[str, float], correction: Correction | None) -> InputRefused:
    """``details`` tell what was done about the scan's site, where the bundle corrects for sites."""
    return InputRefused(
        "out_of_distribution",
        "The head is unlike every head that the model has learned from, so a number would mean nothing. Check that the "
        "series is a T1-weighted scan of a whole adult head without large lesions or implants.",
        beyond if correction is None else {**beyond, "site_correction": correction},
    )
