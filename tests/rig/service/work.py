"""Claims, answers and a results API in memory, for tests of the worker's use cases."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from med3d_client.worker import Superseded
from med3d_contract.results import (
    Assessment,
    BrainAge,
    BundleRef,
    ChronologicalAge,
    Estimate,
    Interval,
    Latent,
    LatentMap,
    OutOfDistribution,
    Priority,
    Provenance,
    Quality,
    Reason,
    Refusal,
    Result,
    SeriesCandidate,
    SeriesReport,
)
from med3d_contract.work import (
    Heartbeat,
    Outcome,
    PredictClaim,
    PredictClaims,
    PreparedFindings,
    PreprocessClaim,
    PreprocessClaims,
    Preprocessed,
    PreprocessedObject,
    Release,
    StoredOutcomes,
    Subject,
    WorkerIdentity,
)
from med3d_worker.heads.tensors import TensorCache, TensorRecord
from rig.service.stores import MemoryStore

BUNDLE = BundleRef(name="bundle", version="1", digest="b" * 64)
WORKER = WorkerIdentity(
    worker_id="worker-1", software={"infovae-med3d": "0"}, providers=("CPUExecutionProvider",), bundles=(BUNDLE,)
)
SERIES = SeriesReport(
    chosen="series 1", candidates=(SeriesCandidate(label="series 1", score=0.9, reasons=("T1-weighted",)),)
)
QUALITY = Quality(measures={"overlap": 0.93}, limits={"overlap": (0.8, None)}, failed=())
PROVENANCE = Provenance(
    input_digest="i" * 64,
    preprocessing_digest="p" * 64,
    bundle_digest=BUNDLE.digest,
    software={"infovae-med3d": "0"},
    providers=("CPUExecutionProvider",),
    timings_s={"reading headers": 0.5},
)
FINDINGS = PreparedFindings(series=SERIES, quality=QUALITY, provenance=PROVENANCE)
AGE = ChronologicalAge(years=50.0, source="form")


def result(brain_age: float = 52.0) -> Result:
    interval = Interval(level=0.9, lower=brain_age - 8, upper=brain_age + 8)
    gap = Estimate(estimate=brain_age - 50, interval=Interval(level=0.9, lower=-6, upper=10))
    return Result(
        brain_age=BrainAge(estimate=brain_age, interval=interval, chronological_age=AGE, gap=gap, gap_corrected=gap),
        sdmt=None,
        latent=Latent(
            dimension=2, values=(0.25, -1.0), map=LatentMap(pca=(0.0, 1.0), pls_age=(2.0, 3.0), pls_sdmt=None)
        ),
        assessment=Assessment(
            decision="review",
            reasons=(Reason(code="vendor_outside_calibration", sentence="Another vendor."),),
            out_of_distribution=OutOfDistribution(distance=1.5, percentile=40.0),
        ),
    )


TIE = Reason(code="series_tie", sentence="2 series are equally suitable; the first by series number was taken.")
REFUSAL = Refusal(code="not_a_head", reason="This is no head. Send one.")


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar of name -> bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def preprocess_claim(
    store: MemoryStore, run_id: str = "run-1", files: Mapping[str, bytes] | None = None, sha256: str | None = None
) -> PreprocessClaim:
    """A claim whose working copy lies in ``store``."""
    data = tar_of(files or {"000000.dcm": b"slice"})
    store.objects[f"working/{run_id}.tar"] = data
    return PreprocessClaim(
        run_id=run_id,
        study_id="study-1",
        attempt=1,
        lease_s=15,
        priority=Priority.ROUTINE,
        bundle=BUNDLE,
        working_copy_key=f"working/{run_id}.tar",
        working_copy_sha256=sha256 or hashlib.sha256(data).hexdigest(),
        chosen_series=None,
        subject=Subject(age=None, sex=None),
    )


RECORD = TensorRecord(np.ones((2, 2, 2), np.float32), np.eye(4), {"overlap": 0.93})


def predict_claim(tensors: TensorCache, run_id: str = "run-1", record: TensorRecord | None = RECORD) -> PredictClaim:
    """A claim whose tensor is kept by ``tensors``; without a record its object is missing."""
    key = f"tensors/{run_id}.npz"
    stored = tensors.keep(key, record) if record else PreprocessedObject(key=key, sha256="0" * 64)
    return PredictClaim(
        run_id=run_id,
        study_id="study-1",
        attempt=2,
        lease_s=15,
        bundle=BUNDLE,
        subject=Subject(age=AGE, sex=None),
        preprocessed=Preprocessed(
            attempt=1,
            tensor=stored,
            findings=FINDINGS,
            acquisition={"manufacturer": "SIEMENS", "field_strength_t": 3.0},
            review_reasons=(),
        ),
    )


class FakeApi:
    """The worker's side of the results API: gives the claims that it was made with, remembers what it is told."""

    def __init__(self, *claims: Any) -> None:
        self.claims: list[Any] = list(claims)
        self.stages: list[str | None] = []
        self.released: list[str] = []
        self.prepared: dict[str, Preprocessed] = {}
        self.ended: dict[str, Outcome] = {}
        self.outcomes_put = 0
        self.fault: Exception | None = None
        self.over: set[str] = set()

    def claim_preprocess(self, run_id: str, worker: WorkerIdentity, limit: int = 1) -> PreprocessClaims:
        self._fail()
        found = [claim for claim in self.claims if claim.run_id == run_id]
        if not found:
            raise Superseded("not claimable")
        others = [claim for claim in self.claims if claim.run_id != run_id]
        taken = [*found, *others][:limit]
        self.claims = [claim for claim in self.claims if claim not in taken]
        return PreprocessClaims(claims=tuple(taken))

    def claim_predict(self, worker: WorkerIdentity, limit: int) -> PredictClaims:
        self._fail()
        taken, self.claims = self.claims[:limit], self.claims[limit:]
        return PredictClaims(claims=tuple(taken))

    def heartbeat(self, heartbeat: Heartbeat) -> frozenset[str]:
        self.stages += [one.stage for one in heartbeat.held]
        return frozenset(self.over)

    def release(self, release: Release) -> frozenset[str]:
        self.released += [one.run_id for one in release.held]
        return frozenset()

    def preprocessed(self, runs: Mapping[str, Preprocessed]) -> frozenset[str]:
        self._fail()
        self.prepared |= runs
        return frozenset()

    def outcomes(self, ended: StoredOutcomes) -> frozenset[str]:
        self._fail()
        self.outcomes_put += 1
        self.ended |= {one.run_id: one.outcome for one in ended.outcomes if one.run_id not in self.over}
        return frozenset(self.over & {one.run_id for one in ended.outcomes})

    def outcome(self, run_id: str, outcome: Outcome) -> None:
        self._fail()
        if run_id in self.over:
            raise Superseded("over")
        self.ended[run_id] = outcome

    def _fail(self) -> None:
        if self.fault:
            raise self.fault
