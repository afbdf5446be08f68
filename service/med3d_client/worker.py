"""The HTTP client through which a worker claims stages, keeps them and ends them."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from med3d_client.transport import ApiError, ApiUnavailable, Conflict, RetryPolicy, Sleep, request_with_retries
from med3d_contract.results import Frozen
from med3d_contract.work import (
    Appraisal,
    AppraisalRequest,
    ClaimRequest,
    ExplanationRequest,
    Heartbeat,
    Outcome,
    PredictClaimRequest,
    PredictClaims,
    PreprocessClaims,
    Preprocessed,
    PreprocessedRuns,
    Release,
    StaleRuns,
    StoredOutcomes,
    VolumesRequest,
    WorkerHello,
    WorkerIdentity,
)

__all__ = ["ApiError", "ApiUnavailable", "Superseded", "WorkerClient"]

QUICK = RetryPolicy(attempts=1)
ERASED = frozenset({"unknown_run", "unknown_study"})
"""The service names to workers only what it has: what it does not know any more, it has erased."""


class Superseded(Exception):  # noqa: N818 - good news for whoever catches it: somebody else has the work
    """A newer attempt exists, the stage is taken, the run is over, or it was erased: there is nothing left to do."""


class WorkerClient:
    """Calls of /worker/*; safe to use from several threads.

    Every call raises Superseded on 409 and where run or study were erased, ApiUnavailable when the API cannot be
    reached after bounded retries, and ApiError on any other refusal.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout_s: float = 10.0,
        retries: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=timeout_s,
            transport=transport,
        )
        self._retries = retries or RetryPolicy()
        self._sleep = sleep

    def hello(self, hello: WorkerHello) -> None:
        """Say that this worker is alive. Tried once: the next hello follows in seconds."""
        self._send("POST", "/worker/hello", hello, QUICK)

    def claim_preprocess(self, run_id: str, worker: WorkerIdentity, limit: int = 1) -> PreprocessClaims:
        """Take the preprocess stage of ``run_id``, and of companions up to ``limit``; Superseded where it is taken."""
        response = self._send("POST", f"/worker/runs/{run_id}/claim", ClaimRequest(worker=worker, limit=limit))
        return PreprocessClaims.model_validate_json(response.content)

    def appraisal_request(self, study_id: str) -> AppraisalRequest:
        """Ask what to look at for an appraisal of ``study_id``; Superseded where none is needed any more."""
        return AppraisalRequest.model_validate_json(self._send("GET", f"/worker/studies/{study_id}/appraisal").content)

    def appraised(self, study_id: str, appraisal: Appraisal) -> None:
        """Say which series of ``study_id`` can be analysed. Idempotent."""
        self._send("PUT", f"/worker/studies/{study_id}/appraisal", appraisal)

    def explanation_request(self, run_id: str) -> ExplanationRequest:
        """Ask what to explain a run by; Superseded where it was erased or cannot be explained any more."""
        return ExplanationRequest.model_validate_json(self._send("GET", f"/worker/runs/{run_id}/explanation").content)

    def volumes_request(self, run_id: str) -> VolumesRequest:
        """Ask what to make a run's volumes of; Superseded where it was erased or its images are gone."""
        return VolumesRequest.model_validate_json(self._send("GET", f"/worker/runs/{run_id}/volumes").content)

    def claim_predict(self, worker: WorkerIdentity, limit: int) -> PredictClaims:
        """Take the predict stage of up to ``limit`` runs of one bundle; empty when nothing waits."""
        response = self._send("POST", "/worker/claims/predict", PredictClaimRequest(worker=worker, limit=limit))
        return PredictClaims.model_validate_json(response.content)

    def heartbeat(self, heartbeat: Heartbeat) -> frozenset[str]:
        """Renew leases; the runs whose attempt is over. Tried once: the next heartbeat follows in seconds."""
        return self._send_and_find_stale("POST", "/worker/heartbeat", heartbeat, QUICK)

    def release(self, release: Release) -> frozenset[str]:
        """Give back what was claimed and not begun. Tried once: leases that run out say the same."""
        return self._send_and_find_stale("POST", "/worker/release", release, QUICK)

    def preprocessed(self, runs: Mapping[str, Preprocessed]) -> frozenset[str]:
        """End the preprocess stage of runs, which then wait for prediction; those that were over. Idempotent."""
        return self._send_and_find_stale("PUT", "/worker/preprocessed", PreprocessedRuns(runs=dict(runs)))

    def outcome(self, run_id: str, outcome: Outcome) -> None:
        """End the run, or this attempt at it. Idempotent per attempt."""
        self._send("PUT", f"/worker/runs/{run_id}/outcome", outcome)

    def outcomes(self, ended: StoredOutcomes) -> frozenset[str]:
        """End runs; those whose attempt was over. Idempotent per attempt."""
        return self._send_and_find_stale("PUT", "/worker/outcomes", ended)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _send_and_find_stale(
        self, method: str, path: str, body: Frozen, policy: RetryPolicy | None = None
    ) -> frozenset[str]:
        return StaleRuns.model_validate_json(self._send(method, path, body, policy).content).over

    def _send(
        self, method: str, path: str, body: Frozen | None = None, policy: RetryPolicy | None = None
    ) -> httpx.Response:
        try:
            return request_with_retries(
                self._http,
                method,
                path,
                content=None if body is None else body.model_dump_json(),
                policy=policy or self._retries,
                sleep=self._sleep,
            )
        except ApiError as error:
            if isinstance(error, Conflict) or error.code in ERASED:
                raise Superseded(str(error)) from error
            raise
