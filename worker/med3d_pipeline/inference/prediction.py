"""From tensors to predictions: estimates, intervals, distance from the training cohort, and the decision."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.decision import (
    LEARNED_FROM,
    Choice,
    Unlikeness,
    age_reasons,
    not_calibrated,
    out_of_distribution,
    unlikeness_reasons,
)
from med3d_pipeline.inference.encoder import Float32, LatentEncoder
from med3d_pipeline.inference.heads import RegressionHead
from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_pipeline.inference.manifest import SIMULATED_LABELS, DecisionLimits
from med3d_pipeline.inference.reconstruction import Reconstruction
from med3d_pipeline.inference.site_shifts import Correction, SiteShifts
from med3d_pipeline.inference.yardstick import ScannerAttributes, SiteYardstick, TrainingYardstick, Yardstick
from med3d_pipeline.reasons import Reason

SDMT_RANGE_POINTS = (0.0, 110.0)
OLDEST_YEARS = 120.0


@dataclass(frozen=True)
class SubjectAttributes:
    """What may be known of the subject: age at the scan in years, sex F or M, the site as a manifest names it.

    Raises ValueError for an age beyond 0 to 120 years: such as one in months, which would give a gap of no meaning;
    TypeError for one that is no number, such as True, which would be a year.
    """

    age_years: float | None = None
    sex: str | None = None
    scan_site: str | None = None

    def __post_init__(self) -> None:
        if self.age_years is None:
            return
        if isinstance(self.age_years, bool) or not isinstance(self.age_years, Real):
            raise TypeError(f"an age is a number of years, not {self.age_years!r}")
        if not 0 <= self.age_years <= OLDEST_YEARS:
            raise ValueError(f"an age is 0 to {OLDEST_YEARS:.0f} years, not {self.age_years}")
        object.__setattr__(self, "age_years", float(self.age_years))


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
    takes out no site's. calibrated_for: the site whose own healthy heads brain age, gaps, intervals and distance are
    held against, with the sha256 of its calibration file; None: the training cohort. distance and percentile: see
    LatentSpace and SiteCalibration. reasons: why the decision is ``review``, empty where it is ``accepted``.
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
    calibrated_for: str | None = None
    calibration_digest: str | None = None


@dataclass(frozen=True, eq=False)
class Sighting:
    """What the networks say of one head, before anything is held against it.

    latent: (d,) float32; estimate_years: the brain-age head's; reconstruction_error: None where the bundle cannot tell.
    """

    latent: npt.NDArray[np.float32]
    estimate_years: float
    reconstruction_error: float | None


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
        sites: Sequence[SiteYardstick] = (),
    ) -> None:
        self._encoder = encoder
        self._brain_age = brain_age
        self._sdmt = sdmt
        self._sdmt_evidence = sdmt_evidence
        self._space = space
        self._limits = limits
        self._reconstruction = reconstruction
        self._site_shifts = site_shifts
        self._training = TrainingYardstick(space, limits)
        self._sites = tuple(sites)

    def calibrated(self, sites: Sequence[SiteYardstick]) -> "Predictor":
        """Return a predictor that holds each head against the first of ``sites`` that is for it, else the training."""
        return Predictor(
            self._encoder, self._brain_age, self._sdmt, self._sdmt_evidence, self._space, self._limits,
            self._reconstruction, self._site_shifts, sites,
        )  # fmt: skip

    @property
    def providers(self) -> tuple[str, ...]:
        """What the encoder's session computes with, first choice first."""
        return self._encoder.providers

    @property
    def space(self) -> LatentSpace:
        """The latent space that predictions are placed in."""
        return self._space

    @property
    def limits(self) -> DecisionLimits:
        """Where a prediction stops to be accepted."""
        return self._limits

    def look(self, tensors: Float32) -> list[Sighting]:
        """Tell of each of N tensors (N, X, Y, Z) float32 what the networks say, no site's share taken out.

        Raises ValueError for another shape, InferenceError where a tensor, a latent or an estimate is not finite.
        """
        latents = self._encoder.encode(tensors)
        ages = self._brain_age.estimate(latents)
        errors = self._reconstruction_errors(tensors, latents)
        return [Sighting(*found) for found in zip(latents, map(float, ages), errors, strict=True)]

    def has_learned_from(self, sighting: Sighting) -> bool:
        """Tell whether the head is a scan that the model learned from, see ``LatentSpace.holds``."""
        coordinates = self._coordinates(sighting.latent)
        return self._space.holds(coordinates.pca, coordinates.pls_age)

    def refusal(self, sighting: Sighting) -> InputRefused | None:
        """Tell whether the head is beyond the bundle's limits, which no calibration moves."""
        distance = float(self._space.distance(sighting.latent[None])[0])
        beyond = Unlikeness(distance, sighting.reconstruction_error).beyond(self._limits)
        return out_of_distribution(beyond, None) if beyond else None

    def predict(
        self,
        tensors: Float32,
        subjects: Sequence[SubjectAttributes],
        acquisitions: Sequence[ScannerAttributes],
        review_reasons: Sequence[Sequence[Reason]] | None = None,
        sites: Sequence[Sequence[SiteYardstick]] | None = None,
    ) -> list[Prediction | InputRefused]:
        """Answer for each of N tensors (N, X, Y, Z) float32.

        ``review_reasons`` carries what is already known per subject, such as a tie between two series; ``sites``
        what a subject may be held against before the predictor's own sites. One that lies
        beyond the bundle's limits is answered by an InputRefused with code ``out_of_distribution`` in its place, so
        that it costs its neighbours nothing. Raises ValueError where the lengths differ, InferenceError where a tensor,
        a latent or an estimate is not finite.
        """
        earlier = review_reasons if review_reasons is not None else [()] * len(tensors)
        own_sites = sites if sites is not None else [()] * len(tensors)
        if {len(subjects), len(acquisitions), len(earlier), len(own_sites)} != {len(tensors)}:
            raise ValueError(
                f"{len(tensors)} tensors of shape {tensors.shape[1:]} with {len(subjects)} subjects, "
                f"{len(acquisitions)} acquisitions and reasons of {len(earlier)}: each tensor has one of each"
            )
        chosen = [
            self._choose(subject, how, (*own, *self._sites))
            for _, subject, how, own in zip(tensors, subjects, acquisitions, own_sites, strict=True)
        ]
        seen = self._encoder.encode(tensors)
        latents = self._without_sites(seen, [choice.shift_site for choice in chosen])
        ages = self._brain_age.estimate(latents)
        sdmt = self._sdmt.estimate(latents) if self._sdmt else np.full(len(latents), np.nan, np.float32)
        unlike = self._unlikeness(tensors, seen, latents)
        return [
            self._answer(latent, float(age), float(points), strange, subject, acquisition, choice, tuple(reasons))
            for latent, age, points, strange, subject, acquisition, choice, reasons in zip(
                latents, ages, sdmt, unlike, subjects, acquisitions, chosen, earlier, strict=True
            )
        ]

    def _choose(
        self, subject: SubjectAttributes, acquisition: ScannerAttributes, sites: Sequence[SiteYardstick]
    ) -> Choice:
        """Choose what to hold a head against, and tell why it is not the calibration of the site that was stated."""
        reasons = []
        for site in sites:
            fitness = site.fitness(subject.scan_site, acquisition)
            if fitness == "fits":
                return Choice(site)
            if fitness != "elsewhere":
                reasons.append(not_calibrated(site, fitness))
        if self._site_shifts is None:
            return Choice(self._training, tuple(reasons))
        stated = subject.scan_site
        return Choice(
            self._training,
            (*reasons, *self._site_shifts.reasons(stated)),
            stated,
            self._site_shifts.correction(stated),
        )

    def _without_sites(self, latents: Float32, sites: Sequence[str | None]) -> Float32:
        if self._site_shifts is None or not len(latents):
            return latents
        return self._site_shifts.corrected(latents, sites)

    def _reconstruction_errors(self, tensors: Float32, seen: Float32) -> list[float | None]:
        if self._reconstruction is None:
            return [None] * len(seen)
        return [float(error) for error in self._reconstruction.errors(tensors, seen)]

    def _unlikeness(self, tensors: Float32, seen: Float32, latents: Float32) -> list[Unlikeness]:
        """Draw them of latents without their sites; the decoder shows what the encoder has ``seen``."""
        distances = self._space.distance(latents)
        errors = self._reconstruction_errors(tensors, seen)
        return [Unlikeness(float(distance), error) for distance, error in zip(distances, errors, strict=True)]

    def _answer(
        self,
        latent: npt.NDArray[np.float32],
        age_estimate: float,
        sdmt_estimate: float,
        unlike: Unlikeness,
        subject: SubjectAttributes,
        acquisition: ScannerAttributes,
        choice: Choice,
        reasons: tuple[Reason, ...],
    ) -> Prediction | InputRefused:
        beyond, held_against = unlike.beyond(self._limits), choice.yardstick
        if beyond:
            return out_of_distribution(beyond, choice.correction)
        age_years = held_against.age_years(age_estimate)
        distance = float(held_against.distance(latent[None])[0])
        percentile = held_against.percentile(distance)
        coordinates = self._coordinates(latent)
        learned = self._space.holds(coordinates.pca, coordinates.pls_age)
        reasons = (
            *choice.reasons,
            *reasons,
            *([LEARNED_FROM] if learned else []),
            *age_reasons(held_against, age_years, subject.age_years),
            *held_against.scanner_reasons(acquisition),
            *unlikeness_reasons(held_against, percentile, unlike.reconstruction_error),
        )
        brain_age = self._around(age_years, held_against.half_width(self._limits.interval_level))
        gap, corrected = self._gaps(held_against, brain_age, subject.age_years)
        return Prediction(
            brain_age=brain_age,
            gap=gap,
            gap_corrected=corrected,
            sdmt=self._sdmt_estimate(sdmt_estimate),
            latent=latent,
            map=coordinates,
            distance=distance,
            percentile=percentile,
            decision="review" if reasons else "accepted",
            reasons=reasons,
            site_correction=choice.correction,
            calibrated_for=held_against.calibrated_for,
            calibration_digest=held_against.calibration_digest,
        )

    def _around(self, estimate: float, half_width: float) -> PointEstimate:
        level = self._limits.interval_level
        return PointEstimate(estimate, PredictionInterval(level, estimate - half_width, estimate + half_width))

    def _gaps(
        self, held_against: Yardstick, brain_age: PointEstimate, age_years: float | None
    ) -> tuple[PointEstimate | None, PointEstimate | None]:
        if age_years is None:
            return None, None
        gap = brain_age.estimate - age_years
        interval = brain_age.interval
        shifted = PredictionInterval(interval.level, interval.lower - age_years, interval.upper - age_years)
        corrected = held_against.corrected_gap(gap, age_years)
        half_width = held_against.corrected_half_width(self._limits.interval_level)
        return PointEstimate(gap, shifted), self._around(corrected, half_width)

    def _sdmt_estimate(self, points: float) -> SdmtEstimate | None:
        if self._sdmt is None or self._sdmt_evidence is None or math.isnan(points):
            return None
        estimate = _within_sdmt(points)
        return SdmtEstimate(estimate, self._sdmt_interval(estimate), self._sdmt_evidence)

    def _sdmt_interval(self, estimate: float) -> PredictionInterval | None:
        """Return it; None for a head on simulated labels: an interval would promise what nobody measured."""
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


def _within_sdmt(points: float) -> float:
    low, high = SDMT_RANGE_POINTS
    return min(max(points, low), high)


def _pair(coordinates: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(coordinates[0, 0]), float(coordinates[0, 1])
