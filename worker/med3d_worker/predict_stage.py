"""Use case: the predict stage of up to N runs of one bundle, encoded in one batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from med3d_contract.client import ApiUnavailable, Superseded
from med3d_contract.results import Provenance, Refusal, Result
from med3d_contract.work import (
    Completed,
    Failed,
    Heartbeat,
    Outcome,
    PredictClaim,
    PredictClaims,
    Refused,
    WorkerIdentity,
)
from med3d_worker.faults import failure_of
from med3d_worker.head_prediction import HeadToPredict, Predicts
from med3d_worker.lease import LeaseKeeper
from med3d_worker.outcomes import OutcomeDelivery
from med3d_worker.preparation import acquisition_of_fields
from med3d_worker.stage_clock import StageClock
from med3d_worker.tensors import TensorCache

log = structlog.get_logger()


class PredictApi(Protocol):
    """The part of WorkerClient that is needed here."""

    def claim_predict(self, worker: WorkerIdentity, limit: int) -> PredictClaims:
        """Empty when nothing waits."""
        ...

    def heartbeat(self, run_id: str, heartbeat: Heartbeat) -> None:
        """Renew a lease."""
        ...

    def outcome(self, run_id: str, outcome: Outcome) -> None:
        """End a run."""
        ...


@dataclass(frozen=True)
class PredictStage:
    """Claims, predicts, reports. One run's fault is not its neighbours'."""

    api: PredictApi
    tensors: TensorCache
    predict: Predicts
    delivery: OutcomeDelivery
    worker: WorkerIdentity
    batch: int = 8
    heartbeat_s: float = 3.0

    def __call__(self) -> int:
        """Work off one batch; how many runs it held."""
        try:
            claims = self.api.claim_predict(self.worker, self.batch).claims
        except (Superseded, ApiUnavailable) as error:
            log.info("not_claimed", because=str(error))
            return 0
        if not claims:
            return 0
        attempts = {claim.run_id: claim.attempt for claim in claims}
        with LeaseKeeper(self.api, attempts, self.heartbeat_s, "encoding and estimating") as lease:
            ready = [(claim, head) for claim in claims if (head := self._load(claim))]
            self._predict(ready, lease)
        return len(claims)

    def _load(self, claim: PredictClaim) -> HeadToPredict | None:
        try:
            record = self.tensors.load(claim.preprocessed.tensor)
        except Exception as error:  # noqa: BLE001 - the edge: this run's fault, whatever it was
            self._fault(claim, error)
            return None
        return HeadToPredict(
            record=record,
            subject=claim.subject,
            acquisition=acquisition_of_fields(claim.preprocessed.acquisition),
            review_reasons=claim.preprocessed.review_reasons,
        )

    def _predict(self, ready: Sequence[tuple[PredictClaim, HeadToPredict]], lease: LeaseKeeper) -> None:
        if not ready:
            return
        clock = StageClock()
        try:
            with clock.measure("predicting"):
                answers = self.predict([head for _, head in ready])
        except Exception as error:  # noqa: BLE001 - the edge: find the one that cannot be predicted
            if len(ready) == 1:
                self._fault(ready[0][0], error)
                return
            log.warning("batch_failed", runs=len(ready), error=type(error).__name__)
            for pair in ready:
                self._predict([pair], lease)
            return
        for (claim, _), answer in zip(ready, answers, strict=True):
            if not lease.is_over(claim.run_id):
                self._answer(claim, answer, clock.timings_s)

    def _answer(self, claim: PredictClaim, answer: Result | Refusal, timings_s: dict[str, float]) -> None:
        before = claim.preprocessed.provenance
        provenance = before.model_copy(
            update={
                "timings_s": before.timings_s | timings_s,
                "providers": _joined(before, self.worker),
                "bundle_digest": claim.bundle.digest,
            }
        )
        try:
            self.delivery.answer(claim.run_id, _outcome(claim, answer, provenance))
        except Exception as error:  # noqa: BLE001 - the edge: the store does not take it
            self._fault(claim, error)

    def _fault(self, claim: PredictClaim, error: BaseException) -> None:
        self.delivery.fault(claim.run_id, Failed(attempt=claim.attempt, failure=failure_of(error)))


def _outcome(claim: PredictClaim, answer: Result | Refusal, provenance: Provenance) -> Completed | Refused:
    if isinstance(answer, Result):
        return Completed(attempt=claim.attempt, result=answer, provenance=provenance)
    known = claim.preprocessed
    return Refused(
        attempt=claim.attempt,
        refusal=answer,
        series=known.series,
        quality=known.quality,
        provenance=provenance,
        source=known.source,
        pictures=known.pictures,
    )


def _joined(before: Provenance, worker: WorkerIdentity) -> tuple[str, ...]:
    """Providers of both stages, which may have run on two machines, each once."""
    return tuple(dict.fromkeys((*before.providers, *worker.providers)))
