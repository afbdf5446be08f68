"""The real worker process with a stand-in for the science: a study's answer is the number that its pixels spell.

``python -m rig.processes.quick_worker`` with the environment of `med3d worker`. All else is the worker's own: Celery, claims,
leases, scratch, tensors, stored answers. A wrong, mixed-up or stale answer shows as another number. A study of the
number POISON kills every child that reads it. No prediction ends while the file that QUICK_WORKER_HOLD names is there.
"""

import os
import random
import signal
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from med3d_client.worker import WorkerClient
from med3d_contract.results import Refusal, Result
from med3d_contract.work import WorkerHello, WorkerIdentity
from med3d_pipeline.preprocessing.spec import QualityLimits
from med3d_store.object_store import ObjectStore
from med3d_worker.app import run_worker
from med3d_worker.heads.head_prediction import HeadToPredict
from med3d_worker.heads.tensors import TensorCache, TensorRecord, tensor_key
from med3d_worker.preparing.preparation import PreparedStudy
from med3d_worker.scratch import Scratch
from med3d_worker.settings import WorkerSettings
from med3d_worker.stages.appraisal import StudyAppraisal
from med3d_worker.stages.outcomes import OutcomeDelivery, publish_outcomes
from med3d_worker.stages.predict_stage import PredictStage
from med3d_worker.stages.preprocess_stage import PreprocessStage
from med3d_worker.workplace import Workplace, _say_hello
from rig.service.prepared import prepared_study
from rig.service.work import BUNDLE, result

POISON = 666_666
LONGEST_STEP_S = 0.3
HOLD = os.environ.get("QUICK_WORKER_HOLD")
NO_LIMITS = QualityLimits(refuse={}, review={})


def spell(dataset: Dataset, number: int) -> Dataset:
    """Let the first pixels of a slice spell ``number``."""
    pixels = bytearray(dataset.PixelData)
    pixels[:4] = struct.pack("<I", number)
    dataset.PixelData = bytes(pixels)
    return dataset


def number_of(folder: Path) -> int:
    """The one number that all files spell."""
    numbers: set[int] = {struct.unpack("<I", pydicom.dcmread(path).PixelData[:4])[0] for path in folder.iterdir()}
    [number] = numbers
    return number


class QuickPreparation:
    """Stands in for StudyPreparation."""

    def __init__(self, cache: TensorCache) -> None:
        self._cache = cache

    def __call__(
        self, paths: Sequence[Path], *, chosen: str | None, clock: object, on_stage: Callable[[str], None]
    ) -> PreparedStudy:
        [folder] = paths
        for stage in ("reading headers", "brain extraction"):
            on_stage(stage)
            time.sleep(random.uniform(0, LONGEST_STEP_S))
        number = number_of(folder)
        if number == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        key = tensor_key(str(number), "quick")
        found = self._cache.find(key)
        record = (
            found[0] if found else TensorRecord(np.full((2, 2, 2), number, np.float32), np.eye(4), {"overlap": 0.9})
        )
        return prepared_study(record, found[1] if found else self._cache.keep(key, record))


def predict(heads: Sequence[HeadToPredict]) -> list[Result | Refusal]:
    """Stands in for HeadPrediction."""
    time.sleep(random.uniform(0, LONGEST_STEP_S))
    while HOLD and Path(HOLD).exists():
        time.sleep(0.05)
    return [result(float(head.record.tensor[0, 0, 0])) for head in heads]


def open_quick_workplace(settings: WorkerSettings, send_publish: Callable[[str, int], None]) -> Workplace:
    """What open_workplace does, without a model."""
    scratch = Scratch(settings.scratch_dir)
    scratch.reclaim()
    worker = WorkerIdentity(worker_id=f"quick-{uuid.uuid4().hex[:8]}", software={}, providers=(), bundles=(BUNDLE,))
    api, store = WorkerClient(settings.api_url, settings.key(), timeout_s=3.0), ObjectStore.open(settings.store_url)
    tensors = TensorCache(store)
    delivery = OutcomeDelivery(api, store, send_publish)
    prepare = QuickPreparation(tensors)
    preprocess = PreprocessStage(api, store, scratch, prepare, delivery, worker, settings.heartbeat_s)
    hello = WorkerHello(worker=worker, queues=settings.queue_names)
    threading.Thread(target=_say_hello, args=(api, hello, settings.heartbeat_s), daemon=True).start()
    return Workplace(
        preprocess,
        StudyAppraisal(api, store, scratch),
        PredictStage(api, tensors, predict, delivery, worker, NO_LIMITS, settings.predict_batch, settings.heartbeat_s),
        lambda run_id, attempt: publish_outcomes(api, store, run_id, attempt),
        lambda _run: None,
        lambda _run: None,
    )


if __name__ == "__main__":
    sys.exit(run_worker(WorkerSettings(), opens=open_quick_workplace))
