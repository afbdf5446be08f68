"""Use case: the preprocess stage of one run, from the working copy in the store to a tensor in the store."""

import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from med3d_client.worker import ApiError, ApiUnavailable, Superseded
from med3d_contract.work import (
    ActiveAttempt,
    Completed,
    Failed,
    Heartbeat,
    Outcome,
    PreprocessClaim,
    PreprocessClaims,
    Preprocessed,
    Refused,
    Release,
    WorkerIdentity,
)
from med3d_store.object_store import ObjectDamagedError
from med3d_worker.faults import failure_of
from med3d_worker.preparing.preparation import PreparedStudy, StudyRefused
from med3d_worker.scratch import Scratch
from med3d_worker.stage_clock import StageClock
from med3d_worker.stages.lease import LeaseKeeper
from med3d_worker.stages.outcomes import OutcomeDelivery
from med3d_worker.stages.pace import AT_ONCE_S, Pace

log = structlog.get_logger()


class PreprocessApi(Protocol):
    """The part of WorkerClient that is needed here."""

    def claim_preprocess(self, run_id: str, worker: WorkerIdentity, limit: int = 1) -> PreprocessClaims:
        """Claim runs. Raises Superseded where the stage is not to be had."""
        ...

    def heartbeat(self, heartbeat: Heartbeat) -> frozenset[str]:
        """Renew leases."""
        ...

    def release(self, release: Release) -> frozenset[str]:
        """Give back what was not begun."""
        ...

    def preprocessed(self, runs: Mapping[str, Preprocessed]) -> frozenset[str]:
        """End the stage of runs."""
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
        """Read a study and preprocess its head. Raises StudyRefused."""
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
    heartbeat_s: float = 3.0
    pace: Pace = field(default_factory=Pace)
    clock: Callable[[], float] = time.monotonic

    def __call__(self, run_id: str) -> None:
        """Take the stage of ``run_id``, and of others beside it, to its end; raises nothing a redelivery could mend."""
        try:
            claims = self.api.claim_preprocess(run_id, self.worker, self.pace.limit).claims
        except (Superseded, ApiUnavailable) as error:
            log.info("not_claimed", run_id=run_id, because=str(error))
            return  # the service's sweep sends it again where there is work left
        except ApiError as error:  # such as another contract version: the run waits for a worker that is let
            log.warning("claim_refused", run_id=run_id, code=error.code, because=str(error))
            return
        attempts = {claim.run_id: claim.attempt for claim in claims}
        with LeaseKeeper(self.api, attempts, self.heartbeat_s) as lease:
            self._work_off(claims, lease)

    def _work_off(self, claims: Sequence[PreprocessClaim], lease: LeaseKeeper) -> None:
        """Do them one by one.

        What has not begun when the time of a whole claim is over goes back for others to take.
        """
        done: dict[str, Preprocessed] = {}
        refused: dict[str, Completed | Refused] = {}
        started = self.clock()
        for number, claim in enumerate(claims):
            if number and self.clock() - started > 2 * AT_ONCE_S:
                self._give_back(claims[number:])
                claims = claims[:number]
                break
            answer = self._prepare(claim, lease)
            if isinstance(answer, Preprocessed):
                done[claim.run_id] = answer
            elif answer is not None:
                refused[claim.run_id] = answer
        self.pace.took(len(claims), self.clock() - started)
        self._report(claims, done, refused)

    def _prepare(self, claim: PreprocessClaim, lease: LeaseKeeper) -> Preprocessed | Refused | None:
        """Return the claim.

        None where there is nothing more to say: the attempt was over, or its fault has been told.
        """
        try:
            return self._work(claim, lease.stage_teller(claim.run_id))
        except Superseded:
            log.info("superseded", run_id=claim.run_id, attempt=claim.attempt)
        except Exception as error:  # noqa: BLE001 - the edge: whatever it was, the run must hear of it
            self._fault(claim, error)
        return None

    def _work(self, claim: PreprocessClaim, on_stage: Callable[[str], None]) -> Preprocessed | Refused:
        clock = StageClock()
        with self.scratch.folder() as folder:
            on_stage("fetching the study")
            with clock.measure("fetching the study"):
                unpack_working_copy(self.store, claim.working_copy_key, claim.working_copy_sha256, folder)
            try:
                study = self.prepare([folder], chosen=claim.chosen_series, clock=clock, on_stage=on_stage)
            except StudyRefused as refused:
                return Refused(attempt=claim.attempt, refusal=refused.refusal, findings=refused.findings)
        assert study.stored is not None, "the stage's preparation keeps tensors in the store"
        return Preprocessed(
            attempt=claim.attempt,
            tensor=study.stored,
            findings=study.findings,
            acquisition=study.acquisition_fields(),
            review_reasons=study.review_reasons,
            series_reasons=study.series_reasons,
        )

    def _report(
        self,
        claims: Sequence[PreprocessClaim],
        done: Mapping[str, Preprocessed],
        refused: Mapping[str, Completed | Refused],
    ) -> None:
        with self._report_failures([claim for claim in claims if claim.run_id in refused]):
            self.delivery.answer(refused)
        with self._report_failures([claim for claim in claims if claim.run_id in done]):
            over = self.api.preprocessed(done) if done else frozenset()
            for run_id, preprocessed in done.items():
                event = "superseded" if run_id in over else "preprocessed"
                log.info(event, run_id=run_id, attempt=preprocessed.attempt)

    @contextmanager
    def _report_failures(self, claims: Sequence[PreprocessClaim]) -> Iterator[None]:
        """Whatever fails inside is a fault of each of these runs."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the edge: the runs must hear of it
            for claim in claims:
                self._fault(claim, error)

    def _give_back(self, claims: Sequence[PreprocessClaim]) -> None:
        held = tuple(ActiveAttempt(run_id=claim.run_id, attempt=claim.attempt) for claim in claims)
        try:
            self.api.release(Release(held=held))
        except (ApiUnavailable, ApiError, Superseded) as error:  # then their leases run out
            log.warning("not_released", runs=len(held), error=type(error).__name__)

    def _fault(self, claim: PreprocessClaim, error: BaseException) -> None:
        self.delivery.fault(claim.run_id, Failed(attempt=claim.attempt, failure=failure_of(error)))
