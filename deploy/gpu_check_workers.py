"""Workers that share one device, as MED3D_CHILDREN makes them: from stored working copies to stored answers.

Each is a process with the worker's own steps. Queue, service and courier are left out: what they cost is measured
elsewhere (bench_capacity).
"""

import gzip
import hashlib
import io
import json
import multiprocessing
import os
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from statistics import fmean, pstdev
from types import TracebackType
from typing import Any, Self

import nibabel as nib
import numpy as np
import numpy.typing as npt

from med3d_contract.work import PreprocessedObject, Subject
from med3d_pipeline.errors import PipelineError
from med3d_store.object_store import ObjectStore
from med3d_worker.head_prediction import HeadPrediction, HeadToPredict
from med3d_worker.library_threads import limit_library_threads
from med3d_worker.loaded_model import load_model
from med3d_worker.pictures import PictureStore
from med3d_worker.preparation import PreparedStudy, StudyPreparation, StudyRefused
from med3d_worker.preprocess_stage import unpack_working_copy
from med3d_worker.scratch import Scratch
from med3d_worker.settings import BundleSettings
from med3d_worker.stage_clock import StageClock
from med3d_worker.tensors import TensorCache

NOISE = 0.01
"""Of each voxel's brightness: no head is another's copy, whose tensor would be taken from the cache."""
NOBODY = Subject(age=None, sex=None)
NETWORKS = "of it: both brain networks"


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


@dataclass(frozen=True)
class Rate:
    """What so many workers did at once. stages_s, prepared_s: means of a study; device_bytes: taken by all of them."""

    workers: int
    studies: int
    refused: int
    faults: tuple[str, ...]
    seconds: float
    prepared_s: float
    prepared_sd_s: float
    predict_s: float
    stages_s: Mapping[str, float]
    resident: int
    device_bytes: int | None

    @property
    def per_s(self) -> float:
        """Studies per second."""
        return self.studies / self.seconds

    def __str__(self) -> str:
        memory = f", {self.resident / 1e9:.2f} GB a worker"
        device = "" if self.device_bytes is None else f", {self.device_bytes / 1e9:.1f} GB of the device's memory taken"
        refused = f", {self.refused} of them refused" if self.refused else ""
        return (
            f"{self.per_s:.2f} studies/s ({self.studies}{refused}, in {self.seconds:.1f} s): preprocessing "
            f"{self.prepared_s:.2f} s, prediction {1000 * self.predict_s:.0f} ms a head{memory}{device}"
        )


class TimedSession:
    """A network's session that adds up how long it took."""

    def __init__(self, session: Any, clock: Callable[[], StageClock]) -> None:
        self._session = session
        self._clock = clock

    def run(self, inputs: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
        """Named inputs to named outputs."""
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
        model = load_model(settings, prove=False)
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
        """A working copy of a head with noise of its own."""
        packed = packed_head(self._heads[number % len(self._heads)], number)
        stored = self._store.put(f"working/{number}.1.tar", packed)
        return Reply(copy=Copy(stored.key, stored.sha256))

    def work(self, copy: Copy) -> Reply:
        """One study from its working copy to a stored tensor; with it the prediction of all that wait, once a batch."""
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
        """The answers of what waits, in the store."""
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
    """A NIfTI with noise of its own as the courier packs it."""
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
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def be_worker(line: Connection, *arguments: Any) -> None:
    """Do what comes through ``line`` until it ends; the first reply says that the model is loaded."""
    try:
        worker = Worker(*arguments)
        line.send(Reply(resident=resident_bytes()))
    except Exception as error:  # noqa: BLE001 - the edge: the parent says it
        line.send(Reply(fault=f"{type(error).__name__}: {error}"))
        return
    done: Mapping[str, Callable[[Any], Reply]] = {
        "copy": worker.write_copy, "work": worker.work, "predict": worker.predict,
    }  # fmt: skip
    while (told := line.recv()) is not None:
        name, given = told
        try:
            line.send(done[name](given))
        except Exception as error:  # noqa: BLE001 - the edge: the parent says it
            line.send(Reply(fault=f"{type(error).__name__}: {error}; {error.__cause__}"))


class WorkersOfOneDevice:
    """Processes that load the model each for itself and are told what to do one by one.

    Raises PipelineError where one cannot be made ready, or ends.
    """

    def __init__(self, count: int, arguments: Sequence[Any], threads: int = 1) -> None:
        self._count, self._arguments, self._threads = count, arguments, threads
        self._stack = ExitStack()
        self.lines: list[Connection] = []

    def start(self) -> tuple[Connection, Callable[[], object]]:
        """Start one; its line, and what waits for its end."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=be_worker, args=(theirs, *self._arguments), daemon=True)
        process.start()
        theirs.close()
        return ours, partial(process.join, 10.0)

    def __enter__(self) -> Self:
        limit_library_threads(self._threads)  # inherited; the libraries read it when they are loaded
        for _ in range(self._count):
            line, join = self.start()
            self._stack.callback(join)
            self._stack.callback(line.close)
            self.lines.append(line)
        try:
            for line in self.lines:
                _said(line)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self.lines:
            try:
                line.send(None)
            except OSError:
                continue  # it has ended already
        self._stack.close()

    def hand_out(self, name: str, given: Sequence[Any], lines: Sequence[Connection]) -> list[Reply]:
        """Let the workers do ``name`` for each of ``given``, the next as soon as one has done with the last."""
        waiting, busy, replies = list(reversed(given)), set(), []
        for line in lines:
            if waiting:
                line.send((name, waiting.pop()))
                busy.add(line)
        while busy:
            for ready in wait(list(busy)):
                line = next(one for one in busy if one is ready)
                replies.append(_said(line, lenient=True))
                if waiting:
                    line.send((name, waiting.pop()))
                else:
                    busy.remove(line)
        return replies

    def write_copies(self, count: int, first: int = 0) -> list[Copy]:
        """Working copies in the store, made by all workers together."""
        replies = self.hand_out("copy", range(first, first + count), self.lines)
        if fault := next((reply.fault for reply in replies if reply.fault), None):
            raise PipelineError(f"no working copies: {fault}")
        return [reply.copy for reply in replies if reply.copy is not None]

    def measure(self, workers: int, copies: Sequence[Copy], device_bytes: Callable[[], int | None]) -> Rate:
        """What so many of the workers take for ``copies``, to the last answer. The others wait."""
        lines = self.lines[:workers]
        started = time.perf_counter()
        replies = self.hand_out("work", copies, lines)
        replies += self.hand_out("predict", [None] * len(lines), lines)
        seconds = time.perf_counter() - started
        return rate_of(workers, replies, seconds, device_bytes())


def rate_of(workers: int, replies: Sequence[Reply], seconds: float, device_bytes: int | None) -> Rate:
    """Means over the studies. Raises PipelineError where none was preprocessed."""
    faults = tuple(reply.fault for reply in replies if reply.fault)
    prepared = [reply for reply in replies if reply.prepared_s is not None]
    times = [reply.prepared_s for reply in prepared if reply.prepared_s is not None]
    answered = sum(reply.answered for reply in replies)
    if not times or not answered:
        raise PipelineError(f"no study was answered: {faults[0] if faults else 'all were refused'}")
    stages = {name: fmean(one.stages_s.get(name, 0.0) for one in prepared) for one in prepared for name in one.stages_s}
    refused = sum(reply.refused for reply in replies)
    return Rate(
        workers=workers, studies=answered + refused, refused=refused, faults=faults, seconds=seconds,
        prepared_s=fmean(times), prepared_sd_s=pstdev(times),
        predict_s=sum(reply.predicting_s for reply in replies) / answered,
        stages_s=stages, resident=max(reply.resident for reply in replies), device_bytes=device_bytes,
    )  # fmt: skip


def _said(line: Connection, *, lenient: bool = False) -> Reply:
    try:
        reply = line.recv()
    except EOFError as error:
        raise PipelineError("a worker ended before it had answered") from error
    assert isinstance(reply, Reply)
    if reply.fault and not lenient:
        raise PipelineError(f"a worker cannot be made ready: {reply.fault}")
    return reply
