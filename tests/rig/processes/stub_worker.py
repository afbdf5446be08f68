"""A worker as it is, but for the science: it burns processor time instead. Queue, claims, store and API are real.

    python -m rig.processes.stub_worker MILLISECONDS_PER_RUN

Four fifths of the time are burnt per preprocessed run, the rest per predicted one. A working copy is fetched and
unpacked, a tensor is loaded, results are written: as ever.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from med3d_client.worker import WorkerClient
from med3d_contract.results import Refusal, Result
from med3d_contract.work import WorkerHello
from med3d_store.object_store import ObjectStore
from med3d_worker.app import run_worker
from med3d_worker.heads.head_prediction import HeadToPredict
from med3d_worker.heads.tensors import TensorCache, TensorRecord
from med3d_worker.preparing.preparation import PreparedStudy
from med3d_worker.scratch import Scratch
from med3d_worker.settings import WorkerSettings
from med3d_worker.stages.outcomes import OutcomeDelivery, publish_outcomes
from med3d_worker.stages.predict_stage import PredictStage
from med3d_worker.stages.preprocess_stage import PreprocessStage
from med3d_worker.workplace import Workplace
from rig.processes.quick_worker import NO_LIMITS
from rig.service.parts import worker
from rig.service.prepared import prepared_study
from rig.service.work import result

RECORD = TensorRecord(np.ones((8, 8, 8), np.float32), np.eye(4), {"overlap": 0.93})


def burn(seconds: float) -> None:
    """Processor time of this thread; sleeping would leave the processor to everybody else."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


class Burns:
    """The science of both stages."""

    def __init__(self, tensors: TensorCache, run_s: float) -> None:
        self.stored = tensors.keep("tensors/stub.npz", RECORD)
        self.run_s = run_s

    def prepare(
        self, paths: Sequence[Path], *, chosen: str | None, clock: object, on_stage: Callable[[str], None]
    ) -> PreparedStudy:
        [folder] = paths
        assert [file.read_bytes() for file in folder.iterdir()], "a working copy holds something"
        on_stage("brain extraction")
        burn(0.8 * self.run_s)
        return prepared_study(RECORD, self.stored)

    def predict(self, heads: Sequence[HeadToPredict]) -> list[Result | Refusal]:
        burn(0.2 * self.run_s * len(heads))
        return [result()] * len(heads)


def open_stub(settings: WorkerSettings, send_publish: Callable[[str, int], None], *, run_s: float) -> Workplace:
    store = ObjectStore.open(settings.store_url)
    api = WorkerClient(settings.api_url, settings.key())
    tensors = TensorCache(store)
    burns = Burns(tensors, run_s)
    delivery = OutcomeDelivery(api, store, send_publish)
    me = worker(f"stub-{time.time_ns()}")
    preprocess = PreprocessStage(
        api, store, Scratch(settings.scratch_dir), burns.prepare, delivery, me, settings.heartbeat_s
    )
    predict = PredictStage(
        api, tensors, burns.predict, delivery, me, NO_LIMITS, settings.predict_batch, settings.heartbeat_s
    )
    api.hello(WorkerHello(worker=me, queues=settings.queue_names))
    return Workplace(
        preprocess,
        lambda _study: None,
        predict,
        partial(publish_outcomes, api, store),
        lambda _run: None,
        lambda _run: None,
    )


if __name__ == "__main__":
    run_s = float(sys.argv[1]) / 1000
    sys.exit(run_worker(WorkerSettings(), log_level="WARNING", opens=partial(open_stub, run_s=run_s)))
