"""Use case: the preprocess stage of one run, from the working copy in the store to a tensor in the store."""

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from med3d_contract.client import ApiError, ApiUnavailable, Superseded
from med3d_contract.store import ObjectDamagedError
from med3d_contract.work import Failed, Heartbeat, Outcome, PreprocessClaim, Preprocessed, Refused, WorkerIdentity
from med3d_worker.faults import failure_of
from med3d_worker.lease import LeaseKeeper
from med3d_worker.outcomes import OutcomeDelivery
from med3d_worker.preparation import PreparedStudy, StudyRefused
from med3d_worker.scratch import Scratch
from med3d_worker.stage_clock import StageClock

log = structlog.get_logger()


class PreprocessApi(Protocol):
    """The part of WorkerClient that is needed here."""

    def claim_preprocess(self, run_id: str, worker: WorkerIdentity) -> PreprocessClaim:
        """Raises Superseded where the stage is not to be had."""
        ...

    def heartbeat(self, run_id: str, heartbeat: Heartbeat) -> None:
        """Renew the lease."""
        ...

    def preprocessed(self, run_id: str, preprocessed: Preprocessed) -> None:
        """End the stage."""
        ...

    def outcome(self, run_id: str, outcome: Outcome) -> None:
        """End the run."""
        ...


class FetchesObjects(Protocol):
    """The part of ObjectStore that is needed here."""

    def fetch(self, key: str, path: Path, sha256: str | None = None) -> Path:
        """Copy an object into a file; raises StoreError, also where the digest does not fit."""
        ...


def unpack_working_copy(store: FetchesObjects, key: str, sha256: str, folder: Path) -> None:
    """Fetch a working copy and unpack it into ``folder``. Raises StoreError."""
    packed = store.fetch(key, folder.with_suffix(".tar"), sha256)
    try:
        unpack_flat(packed, folder)
    except tarfile.TarError as error:
        raise ObjectDamagedError("the working copy is no tar of plain files") from error
    packed.unlink()


def unpack_flat(packed: Path, folder: Path) -> None:
    """Write the files of a tar that knows neither folders nor links into ``folder``.

    tarfile's own filter for such archives is younger than Debian 12's Python (3.11.2). Raises tarfile.TarError.
    """
    with tarfile.open(packed) as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.isreg() and Path(entry.name).name == entry.name else None
            if content is None:
                raise tarfile.ExtractError("an entry is not a plain file")
            with content, (folder / entry.name).open("wb") as file:
                shutil.copyfileobj(content, file)


class PreparesStudies(Protocol):
    """``StudyPreparation``, or a test's stand-in."""

    def __call__(
        self, paths: list[Path], *, chosen: str | None, clock: StageClock, on_stage: Callable[[str], None]
    ) -> PreparedStudy:
        """Raises StudyRefused."""
        ...


@dataclass(frozen=True)
class PreprocessStage:
    """Claims, works, reports. A stage that somebody else has is left alone."""

    api: PreprocessApi
    store: FetchesObjects
    scratch: Scratch
    prepare: PreparesStudies
    delivery: OutcomeDelivery
    worker: WorkerIdentity
    heartbeat_s: float = field(default=3.0)

    def __call__(self, run_id: str) -> None:
        """Take the stage of ``run_id`` through to its end; raises nothing that a redelivery could mend."""
        try:
            claim = self.api.claim_preprocess(run_id, self.worker)
        except (Superseded, ApiUnavailable) as error:
            log.info("not_claimed", run_id=run_id, because=str(error))
            return  # the service's sweep sends it again where there is work left
        except ApiError as error:  # such as another contract version: the run waits for a worker that is let
            log.warning("claim_refused", run_id=run_id, code=error.code, because=str(error))
            return
        with LeaseKeeper(self.api, {run_id: claim.attempt}, self.heartbeat_s, "fetching the study") as lease:
            try:
                self._work(claim, lease)
            except Superseded:
                log.info("superseded", run_id=run_id, attempt=claim.attempt)
            except Exception as error:  # noqa: BLE001 - the edge: whatever it was, the run must hear of it
                self.delivery.fault(run_id, Failed(attempt=claim.attempt, failure=failure_of(error)))

    def _work(self, claim: PreprocessClaim, lease: LeaseKeeper) -> None:
        clock = StageClock()
        with self.scratch.folder() as folder:
            with clock.measure("fetching the study"):
                unpack_working_copy(self.store, claim.working_copy_key, claim.working_copy_sha256, folder)
            try:
                study = self.prepare([folder], chosen=claim.chosen_series, clock=clock, on_stage=lease.enter_stage)
            except StudyRefused as refused:
                lease.enter_stage("storing the answer")
                self.delivery.answer(claim.run_id, _refused(claim, refused))
                return
        assert study.stored is not None, "the stage's preparation keeps tensors in the store"
        self.api.preprocessed(
            claim.run_id,
            Preprocessed(
                attempt=claim.attempt,
                tensor=study.stored,
                series=study.series,
                quality=study.quality,
                acquisition=study.acquisition_fields(),
                review_reasons=study.review_reasons,
                series_reasons=study.series_reasons,
                provenance=study.provenance,
                source=study.source,
                pictures=study.pictures,
            ),
        )
        log.info("preprocessed", run_id=claim.run_id, attempt=claim.attempt)


def _refused(claim: PreprocessClaim, refused: StudyRefused) -> Refused:
    return Refused(
        attempt=claim.attempt,
        refusal=refused.refusal,
        series=refused.series,
        quality=refused.quality,
        provenance=refused.provenance,
        source=refused.source,
        pictures=refused.pictures,
    )
