"""One of the workers of gpu_check_workers.py: a process with the worker's own steps that does what it is told."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from med3d_contract.work import PreprocessedObject, Subject
from med3d_store.object_store import ObjectStore
from med3d_worker.heads.head_prediction import HeadPrediction, HeadToPredict
from med3d_worker.heads.pictures import PictureStore
from med3d_worker.heads.tensors import TensorCache
from med3d_worker.model.loaded_model import load_model
from med3d_worker.preparing.preparation import PreparedStudy, StudyPreparation, StudyRefused
from med3d_worker.scratch import Scratch
from med3d_worker.settings import BundleSettings
from med3d_worker.stage_clock import StageClock
from med3d_worker.stages.preprocess_stage import unpack_working_copy

NOISE = 0.01
"""Of each voxel's brightness: no head is another's copy, whose tensor would be taken from the cache."""
NOBODY = Subject(age=None, sex=None)
NETWORKS = "both brain networks (part of brain extraction)"


@dataclass(frozen=True)
class Copy:
    """A working copy in the store."""

    key: str
    sha256: str


@dataclass(frozen=True)
class Reply:
    """What a worker says when it has done what it was told.

    copy: the one that it wrote. prepared_s: of one study, None where there was none or it was refused. answered,
    predicting_s: heads that were predicted with it, and how long all of them took. resident: bytes.
    """

    copy: Copy | None = None
    prepared_s: float | None = None
    stages_s: Mapping[str, float] = field(default_factory=dict)
    refused: int = 0
    answered: int = 0
    predicting_s: float = 0.0
    resident: int = 0
    fault: str | None = None


class TimedSession:
    """A network's session that adds up how long it took."""

    def __init__(self, session: Any, clock: Callable[[], StageClock]) -> None:
        self._session = session
        self._clock = clock

    def run(self, inputs: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
        """Return named inputs to named outputs."""
        with self._clock().measure(NETWORKS):
            outputs: dict[str, npt.NDArray[np.float32]] = self._session.run(inputs)
        return outputs


class Worker:
    """What a child process holds; ``heads`` are the files that copies are made of, in turn."""

    def __init__(self, settings: BundleSettings, store_url: str, scratch: Path, heads: Sequence[Path]) -> None:
        self._heads = heads
        self._batch = settings.predict_batch
        self._store = ObjectStore.join(store_url)
        self._scratch = Scratch(scratch)
        self._tensors = TensorCache(self._store)
        model = load_model(settings)  # and prove it, as a worker does, which warms the device up
        networks = model.preprocessor.networks
        model.preprocessor.networks = replace(
            networks,
            box_session=TimedSession(networks.box_session, lambda: self._clock),
            mask_session=TimedSession(networks.mask_session, lambda: self._clock),
        )
        self._clock = StageClock()
        self._prepare = StudyPreparation(model, self._tensors, PictureStore(self._store))
        self._predict = HeadPrediction(model.predictor, allow_demonstration_heads=False)
        self._prepared: list[PreparedStudy] = []

    def write_copy(self, number: int) -> Reply:
        """Return a working copy of a head with noise of its own."""
        packed = packed_head(self._heads[number % len(self._heads)], number)
        stored = self._store.put(f"working/{number}.1.tar", packed)
        return Reply(copy=Copy(stored.key, stored.sha256))

    def work(self, copy: Copy) -> Reply:
        """Take one study from its working copy to a stored tensor.

        With it the prediction of all that wait, once a batch.
        """
        self._clock = StageClock()
        started = time.perf_counter()
        try:
            with self._scratch.folder() as folder:
                with self._clock.measure("fetching the study"):
                    unpack_working_copy(self._store, copy.key, copy.sha256, folder)
                study = self._prepare([folder], chosen=None, clock=self._clock, on_stage=lambda _: None)
        except StudyRefused:
            return Reply(refused=1)
        self._prepared.append(study)
        prepared_s = time.perf_counter() - started
        done = self.predict() if len(self._prepared) == self._batch else Reply()
        return replace(done, prepared_s=prepared_s, stages_s=self._clock.timings_s)

    def predict(self, _: object = None) -> Reply:
        """Return the answers of what waits, in the store."""
        waiting, self._prepared = self._prepared, []
        if not waiting:
            return Reply(resident=resident_bytes())
        started = time.perf_counter()
        heads = [
            HeadToPredict(self._tensors.load(_stored(one)), NOBODY, one.acquisition, one.review_reasons)
            for one in waiting
        ]
        answers = json.dumps([answer.model_dump(mode="json") for answer in self._predict(heads)]).encode()
        self._store.put(f"results/{hashlib.sha256(answers).hexdigest()}.1.json", answers)
        return Reply(answered=len(waiting), predicting_s=time.perf_counter() - started, resident=resident_bytes())


def _stored(study: PreparedStudy) -> PreprocessedObject:
    assert study.stored is not None
    return study.stored


def packed_head(path: Path, number: int) -> bytes:
    """Return a NIfTI with noise of its own as the courier packs it."""
    image = nib.load(path)
    voxels = np.asanyarray(image.dataobj)
    noisy = voxels * np.random.default_rng(number).normal(1.0, NOISE, voxels.shape)
    if np.issubdtype(voxels.dtype, np.integer):
        limits = np.iinfo(voxels.dtype)
        noisy = np.clip(np.rint(noisy), limits.min, limits.max)
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            plain = type(image)(noisy.astype(voxels.dtype), image.affine, image.header).to_bytes()
            data = gzip.compress(plain, compresslevel=1, mtime=0)
            entry = tarfile.TarInfo("volume.nii.gz")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        return packed.getvalue()


def resident_bytes() -> int:
    """Return those of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def be_worker(line: Connection, *arguments: Any) -> None:
    """Make a worker and let it do what comes through ``line``."""
    obey(line, lambda: Worker(*arguments))


def obey(line: Connection, make: Callable[[], Worker]) -> None:
    """Do what comes through ``line`` until it ends; the first reply says that the model is loaded."""
    with suppress(ConnectionError, EOFError):  # who told it has ended, perhaps with a reply unread
        try:
            worker = make()
        except Exception as error:  # noqa: BLE001 - the edge: the parent says it
            line.send(Reply(fault=f"{type(error).__name__}: {error}"))
            return
        line.send(Reply(resident=resident_bytes()))
        _do_what_is_told(worker, line)


def _do_what_is_told(worker: Worker, line: Connection) -> None:
    done: Mapping[str, Callable[[Any], Reply]] = {
        "copy": worker.write_copy, "work": worker.work, "predict": worker.predict,
    }  # fmt: skip
    while (told := line.recv()) is not None:
        name, given = told
        try:
            reply = done[name](given)
        except Exception as error:  # noqa: BLE001 - the edge: the parent says it
            reply = Reply(fault=f"{type(error).__name__}: {error}; {error.__cause__}")
        line.send(reply)
