"""Use case: the predict stage of up to N runs of one bundle, encoded in one batch."""

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from med3d_client.worker import ApiError, ApiUnavailable, Superseded
from med3d_contract.calibrations import CalibrationFile
from med3d_contract.results import Provenance, Quality, Refusal, Result
from med3d_contract.work import (
    Completed,
    Failed,
    Findings,
    Heartbeat,
    Outcome,
    PredictClaim,
    PredictClaims,
    Refused,
    WorkerIdentity,
)
from med3d_pipeline.calibration.site_calibration import CalibratedSite
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.preprocessing.spec import QualityLimits
from med3d_worker.faults import failure_of
from med3d_worker.heads.head_prediction import HeadToPredict, Predicts
from med3d_worker.heads.review_reasons import in_contract_terms
from med3d_worker.heads.tensors import TensorCache, TensorRecord
from med3d_worker.model.calibrations import OpensCalibrations
from med3d_worker.preparing.one_series import quality_report
from med3d_worker.preparing.preparation import acquisition_of_fields
from med3d_worker.stage_clock import StageClock
from med3d_worker.stages.lease import LeaseKeeper
from med3d_worker.stages.outcomes import OutcomeDelivery
from med3d_worker.stages.pace import Pace

log = structlog.get_logger()


class PredictApi(Protocol):
    """The part of WorkerClient that is needed here."""

    def claim_predict(self, worker: WorkerIdentity, limit: int) -> PredictClaims:
        """Return empty when nothing waits."""
        ...

    def heartbeat(self, heartbeat: Heartbeat) -> frozenset[str]:
        """Renew leases."""
        ...

    def outcome(self, run_id: str, outcome: Outcome) -> None:
        """End a run."""
        ...


Sites = Mapping[str, CalibratedSite]


def _none_opened(files: Iterable[CalibrationFile]) -> dict[str, CalibratedSite]:  # noqa: ARG001 - a stand-in
    return {}


@dataclass(frozen=True, eq=False)
class _Ready:
    """A head that may be predicted. quality: where it was held against another bundle's limits before."""

    claim: PredictClaim
    head: HeadToPredict
    quality: Quality | None


@dataclass(frozen=True)
class PredictStage:
    """Claims, predicts, reports. One run's fault is not its neighbours'."""

    api: PredictApi
    tensors: TensorCache
    predict: Predicts
    delivery: OutcomeDelivery
    worker: WorkerIdentity
    quality_limits: QualityLimits
    batch: int = 8
    heartbeat_s: float = 3.0
    pace: Pace = field(default_factory=Pace)
    open_calibrations: OpensCalibrations = _none_opened

    def __call__(self) -> bool:
        """Claim what can be worked off soon, at least one batch; whether more may wait.

        A claim that is not full says nothing: runs of a batch that was lost are handed out one by one.
        """
        limit = max(self.batch, self.pace.limit)
        try:
            claimed = self.api.claim_predict(self.worker, limit)
        except (Superseded, ApiUnavailable) as error:
            log.info("not_claimed", because=str(error))
            return False
        except ApiError as error:
            log.warning("claim_refused", code=error.code, because=str(error))
            return False
        claims = claimed.claims
        if not claims:
            return False
        sites = self.open_calibrations(claimed.calibrations)
        started = time.monotonic()
        attempts = {claim.run_id: claim.attempt for claim in claims}
        with LeaseKeeper(self.api, attempts, self.heartbeat_s) as lease:
            answers: dict[str, Completed | Refused] = {}
            for first in range(0, len(claims), self.batch):
                answers |= self._batch(claims[first : first + self.batch], sites, lease)
            self._deliver(claims, {run_id: one for run_id, one in answers.items() if not lease.is_over(run_id)})
        self.pace.took(len(claims), time.monotonic() - started)
        return True

    def _batch(
        self, claims: Sequence[PredictClaim], sites: Sites, lease: LeaseKeeper
    ) -> dict[str, Completed | Refused]:
        """Load, encode and answer as many as may be in memory at once."""
        ready: list[_Ready] = []
        answers: dict[str, Completed | Refused] = {}
        for claim in claims:
            with contextlib.suppress(Superseded):
                lease.stage_teller(claim.run_id)("encoding and estimating")
            match self._load(claim, sites):
                case _Ready() as one:
                    ready.append(one)
                case Refused() as refused:
                    answers[claim.run_id] = refused
        return answers | self._predict(ready)

    def _load(self, claim: PredictClaim, sites: Sites) -> _Ready | Refused | None:
        """Return a head to predict, or the answer that it is refused before; None where its fault has been told."""
        try:
            record = self.tensors.load(claim.preprocessed.tensor)
            return self._judged(claim, record, sites)
        except Exception as error:  # noqa: BLE001 - the edge: this run's fault, whatever it was
            self._fault(claim, error)
            return None

    def _judged(self, claim: PredictClaim, record: TensorRecord, sites: Sites) -> _Ready | Refused:
        """Hold a head that was preprocessed for another bundle against this one's limits."""
        known, quality = claim.preprocessed, None
        reasons = known.review_reasons
        if known.findings.provenance.bundle_digest != claim.bundle.digest:
            verdict = judge_quality(record.measures, self.quality_limits)
            quality = quality_report(record.measures, self.quality_limits.refuse, verdict.failed)
            reasons = (*known.series_reasons, *in_contract_terms(verdict.review_reasons))
            if verdict.refusal is not None:
                code, reason, details = verdict.refusal.code, verdict.refusal.reason, dict(verdict.refusal.details)
                refusal = Refusal(code=code, reason=reason, details=details)
                return _refused(claim, refusal, self._provenance(claim, {}), quality)
        acquisition = acquisition_of_fields(known.acquisition)
        own_sites = tuple(sites[digest] for digest in claim.calibrations if digest in sites)
        return _Ready(claim, HeadToPredict(record, claim.subject, acquisition, reasons, own_sites), quality)

    def _predict(self, ready: Sequence[_Ready]) -> dict[str, Completed | Refused]:
        if not ready:
            return {}
        clock = StageClock()
        try:
            with clock.measure("predicting"):
                answers = self.predict([one.head for one in ready])
        except Exception as error:  # noqa: BLE001 - the edge: find the one that cannot be predicted
            if len(ready) == 1:
                self._fault(ready[0].claim, error)
                return {}
            log.warning("batch_failed", runs=len(ready), error=type(error).__name__)
            return {run_id: answer for one in ready for run_id, answer in self._predict([one]).items()}
        return {
            one.claim.run_id: _outcome(one.claim, answer, self._provenance(one.claim, clock.timings_s), one.quality)
            for one, answer in zip(ready, answers, strict=True)
        }

    def _provenance(self, claim: PredictClaim, timings_s: dict[str, float]) -> Provenance:
        before = claim.preprocessed.findings.provenance
        return before.model_copy(
            update={
                "timings_s": before.timings_s | timings_s,
                "providers": _joined(before, self.worker),
                "bundle_digest": claim.bundle.digest,
            }
        )

    def _deliver(self, claims: Sequence[PredictClaim], answers: dict[str, Completed | Refused]) -> None:
        try:
            self.delivery.answer(answers)
        except Exception as error:  # noqa: BLE001 - the edge: the store does not take it
            for claim in claims:
                if claim.run_id in answers:
                    self._fault(claim, error)

    def _fault(self, claim: PredictClaim, error: BaseException) -> None:
        self.delivery.fault(claim.run_id, Failed(attempt=claim.attempt, failure=failure_of(error)))


def _outcome(
    claim: PredictClaim, answer: Result | Refusal, provenance: Provenance, quality: Quality | None
) -> Completed | Refused:
    if isinstance(answer, Refusal):
        return _refused(claim, answer, provenance, quality)
    return Completed(attempt=claim.attempt, result=answer, findings=Findings(provenance=provenance, quality=quality))


def _refused(claim: PredictClaim, refusal: Refusal, provenance: Provenance, quality: Quality | None) -> Refused:
    known = claim.preprocessed.findings
    findings = known.model_copy(update={"provenance": provenance, "quality": quality or known.quality})
    return Refused(attempt=claim.attempt, refusal=refusal, findings=findings)


def _joined(before: Provenance, worker: WorkerIdentity) -> tuple[str, ...]:
    """Return the providers of both stages, which may have run on two machines, each once."""
    return tuple(dict.fromkeys((*before.providers, *worker.providers)))
