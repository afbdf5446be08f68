"""From tensors to the results API's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from med3d_contract.results import (
    Assessment,
    BrainAge,
    ChronologicalAge,
    Estimate,
    Interval,
    Latent,
    LatentMap,
    OutOfDistribution,
    Reason,
    Refusal,
    Result,
    Sdmt,
)
from med3d_contract.work import Subject
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.manifest import SIMULATED_LABELS
from med3d_pipeline.inference.prediction import (
    PointEstimate,
    Prediction,
    PredictionInterval,
    Predictor,
    SubjectAttributes,
)
from med3d_pipeline.inference.yardstick import SiteYardstick
from med3d_pipeline.study.study import Acquisition
from med3d_worker.heads.review_reasons import in_contract_terms, in_pipeline_terms
from med3d_worker.heads.tensors import TensorRecord


@dataclass(frozen=True, eq=False)
class HeadToPredict:
    """A preprocessed head with what may be known of subject and scan, and why a person should look already.

    sites: calibrations that came with the run.
    """

    record: TensorRecord
    subject: Subject
    acquisition: Acquisition
    review_reasons: tuple[Reason, ...]
    sites: tuple[SiteYardstick, ...] = ()


class Predicts(Protocol):
    """``HeadPrediction``, or a test's stand-in."""

    def __call__(self, heads: Sequence[HeadToPredict]) -> list[Result | Refusal]:
        """Return one answer for each head, in order."""
        ...


class HeadPrediction:
    """One batch through the encoder. Estimates of demonstration heads are left out unless they are allowed."""

    def __init__(self, predictor: Predictor, allow_demonstration_heads: bool) -> None:
        self._predictor = predictor
        self._allow_demonstration_heads = allow_demonstration_heads

    def __call__(self, heads: Sequence[HeadToPredict]) -> list[Result | Refusal]:
        """Return one answer for each head, in order: out of distribution is refused. Raises InferenceError."""
        predictions = self._predictor.predict(
            np.stack([head.record.tensor for head in heads]),
            [_attributes(head.subject) for head in heads],
            [head.acquisition for head in heads],
            [in_pipeline_terms(_known_reasons(head)) for head in heads],
            [head.sites for head in heads],
        )
        return [self._answer(prediction, head.subject.age) for prediction, head in zip(predictions, heads, strict=True)]

    def _answer(self, prediction: Prediction | InputRefused, age: ChronologicalAge | None) -> Result | Refusal:
        if isinstance(prediction, InputRefused):
            return Refusal(code=prediction.code, reason=prediction.reason, details=dict(prediction.details))
        return Result(
            brain_age=BrainAge(
                estimate=prediction.brain_age.estimate,
                interval=_interval(prediction.brain_age.interval),
                chronological_age=age,
                gap=_estimate(prediction.gap),
                gap_corrected=_estimate(prediction.gap_corrected),
            ),
            sdmt=self._sdmt(prediction),
            latent=_latent(prediction),
            assessment=Assessment(
                decision=prediction.decision,
                reasons=in_contract_terms(prediction.reasons),
                out_of_distribution=OutOfDistribution(distance=prediction.distance, percentile=prediction.percentile),
                site_correction=prediction.site_correction,
                calibrated_for=prediction.calibrated_for,
                calibration_digest=prediction.calibration_digest,
            ),
        )

    def _sdmt(self, prediction: Prediction) -> Sdmt | None:
        sdmt = prediction.sdmt
        if sdmt is None or (sdmt.evidence == SIMULATED_LABELS and not self._allow_demonstration_heads):
            return None
        interval = None if sdmt.interval is None else _interval(sdmt.interval)
        return Sdmt(estimate=sdmt.estimate, interval=interval, evidence=sdmt.evidence)


def _known_reasons(head: HeadToPredict) -> tuple[Reason, ...]:
    doubt = head.subject.age_doubt
    return head.review_reasons if doubt is None else (*head.review_reasons, doubt)


def _attributes(subject: Subject) -> SubjectAttributes:
    return SubjectAttributes(
        age_years=subject.age.years if subject.age else None,
        sex=subject.sex.value if subject.sex else None,
        scan_site=subject.scan_site,
    )


def _interval(interval: PredictionInterval) -> Interval:
    return Interval(level=interval.level, lower=interval.lower, upper=interval.upper)


def _estimate(point: PointEstimate | None) -> Estimate | None:
    return None if point is None else Estimate(estimate=point.estimate, interval=_interval(point.interval))


def _latent(prediction: Prediction) -> Latent:
    coordinates = prediction.map
    return Latent(
        dimension=len(prediction.latent),
        values=tuple(float(value) for value in prediction.latent),
        map=LatentMap(pca=coordinates.pca, pls_age=coordinates.pls_age, pls_sdmt=coordinates.pls_sdmt),
    )
