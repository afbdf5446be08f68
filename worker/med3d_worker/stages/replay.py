"""Use case: derive a stored run again from its stored input, and say how far the answer is from the stored one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import Field

from med3d_contract.replay import StoredRun
from med3d_contract.results import Frozen, Provenance, Refusal, Result, RunStatus
from med3d_pipeline.bundle.reference_case import Tolerances, normalised_rmse
from med3d_pipeline.calibration.site_calibration import CalibratedSite
from med3d_store.object_store import StoreError
from med3d_worker.heads.head_prediction import HeadToPredict, Predicts
from med3d_worker.heads.tensors import TensorCache, TensorRecord
from med3d_worker.preparing.preparation import StudyRefused
from med3d_worker.scratch import Scratch
from med3d_worker.stage_clock import StageClock
from med3d_worker.stages.preprocess_stage import FetchesObjects, PreparesStudies, unpack_working_copy


class Compared(Frozen):
    """One thing that was derived again. ``difference`` and ``tolerance`` are None where it must be equal."""

    name: str
    then: str
    now: str
    difference: float | None = None
    tolerance: float | None = None
    agrees: bool


class Fingerprint(Frozen):
    """One thing that made the answer: of the input, the preprocessing, the bundle, the software, the provider."""

    name: str
    then: str
    now: str

    @property
    def is_same(self) -> bool:
        """Nothing has changed about it."""
        return self.then == self.now


class ReplayReport(Frozen):
    """What replaying a run showed."""

    run_id: str
    compared: tuple[Compared, ...]
    fingerprint: tuple[Fingerprint, ...] = Field(description="then and now; what is not the same may be the cause")

    @property
    def agrees(self) -> bool:
        """The answer is the stored one, within the bundle's tolerances."""
        return all(one.agrees for one in self.compared)


@dataclass(frozen=True, eq=False)
class _Again:
    """The answer of now."""

    answer: Result | Refusal
    record: TensorRecord | None
    provenance: Provenance


@dataclass(frozen=True)
class Replay:
    """Derives runs again. ``prepare`` has no cache, so all is done anew; ``tensors`` gives the stored one.

    ``predict`` knows no site of its own; ``sites``: calibrations by digest, of which each run gets the one it had.
    """

    prepare: PreparesStudies
    predict: Predicts
    tolerances: Tolerances
    store: FetchesObjects
    tensors: TensorCache
    scratch: Scratch
    sites: Mapping[str, CalibratedSite] = field(default_factory=dict)

    def __call__(self, run: StoredRun) -> ReplayReport:
        """Do it again. Raises StoreError where the input is gone or altered, InferenceError where something broke."""
        with self.scratch.folder() as folder:
            unpack_working_copy(self.store, run.working_copy.key, run.working_copy.sha256, folder)
            again = self._derive(run, folder)
        return ReplayReport(
            run_id=run.run_id,
            compared=tuple(self._compared(run, again)),
            fingerprint=tuple(_fingerprint(run.provenance, again.provenance)),
        )

    def _derive(self, run: StoredRun, folder: Path) -> _Again:
        clock = StageClock()
        try:
            study = self.prepare([folder], chosen=run.chosen_series, clock=clock, on_stage=lambda _stage: None)
        except StudyRefused as refused:
            made_by = refused.findings.provenance
            assert made_by is not None, "a preparation says what made its answer, a refusal, too"
            return _Again(refused.refusal, None, made_by)
        digest = _calibration(run.result)
        sites = (self.sites[digest],) if digest in self.sites else ()
        head = HeadToPredict(study.record, run.subject, study.acquisition, study.review_reasons, sites)
        return _Again(self.predict([head])[0], study.record, study.findings.provenance)

    def _compared(self, run: StoredRun, again: _Again) -> Iterator[Compared]:
        now = RunStatus.COMPLETED if isinstance(again.answer, Result) else RunStatus.REFUSED
        yield _equal("status", run.status, now)
        if isinstance(again.answer, Refusal):
            yield _equal("refusal", "" if run.refusal is None else run.refusal.code, again.answer.code)
            return
        if again.record is not None and (tensor := self._stored_tensor(run)) is not None:
            yield _near("tensor", tensor.tensor, again.record.tensor, self.tolerances.tensor_nrmse)
        if run.result is None:
            return
        then = run.result
        if then.latent is not None and again.answer.latent is not None:
            latents = (np.array(then.latent.values), np.array(again.answer.latent.values))
            yield _near("latent", *latents, self.tolerances.latent_nrmse)
        ages = (then.brain_age.estimate, again.answer.brain_age.estimate)
        yield _within("brain age (years)", *ages, self.tolerances.brain_age_years)
        if then.sdmt is not None and again.answer.sdmt is not None:
            scores = (then.sdmt.estimate, again.answer.sdmt.estimate)
            yield _within("SDMT (points)", *scores, self.tolerances.sdmt_points)
        if _calibration(then) or _calibration(again.answer):
            yield _equal("calibration", _calibration(then)[:12], _calibration(again.answer)[:12])
        yield _equal("decision", then.assessment.decision, again.answer.assessment.decision)

    def _stored_tensor(self, run: StoredRun) -> TensorRecord | None:
        """Read it; None where it has been removed since, which is no fault: it can be made again, and just was."""
        if run.tensor is None:
            return None
        try:
            return self.tensors.load(run.tensor)
        except StoreError:
            return None


def _calibration(result: Result | None) -> str:
    return "" if result is None else result.assessment.calibration_digest or ""


def _equal(name: str, then: str, now: str) -> Compared:
    return Compared(name=name, then=then, now=now, agrees=then == now)


def _within(name: str, then: float, now: float, tolerance: float) -> Compared:
    difference = abs(now - then)
    return Compared(
        name=name,
        then=f"{then:.4f}",
        now=f"{now:.4f}",
        difference=difference,
        tolerance=tolerance,
        agrees=difference <= tolerance,
    )


def _near(name: str, then: np.ndarray, now: np.ndarray, tolerance: float) -> Compared:
    """Compare by normalised root mean square error; another shape agrees in no case."""
    shapes = (str(then.shape), str(now.shape))
    if then.shape != now.shape:
        return Compared(name=name, then=shapes[0], now=shapes[1], agrees=False)
    difference = float(normalised_rmse(now, then))
    return Compared(
        name=f"{name} (normalised RMSE)",
        then=shapes[0],
        now=shapes[1],
        difference=difference,
        tolerance=tolerance,
        agrees=difference <= tolerance,
    )


def _fingerprint(then: Provenance | None, now: Provenance) -> Iterator[Fingerprint]:
    """Return input, preprocessing and bundle by digest, software by version, then what computed."""
    before = then or Provenance(
        input_digest=None, preprocessing_digest=None, bundle_digest="", software={}, providers=(), timings_s={}
    )
    for name in ("input_digest", "preprocessing_digest", "bundle_digest"):
        yield Fingerprint(name=name, then=getattr(before, name) or "", now=getattr(now, name) or "")
    for name in sorted(before.software.keys() | now.software.keys()):
        yield Fingerprint(name=name, then=before.software.get(name, ""), now=now.software.get(name, ""))
    yield Fingerprint(name="providers", then=", ".join(before.providers), now=", ".join(now.providers))
