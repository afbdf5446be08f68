"""Workers that share one device, as MED3D_CHILDREN makes them: from stored working copies to stored answers.

Queue, service and courier are left out: what they cost is measured elsewhere (bench_capacity).
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from statistics import fmean, pstdev
from types import TracebackType
from typing import Any, Self

from gpu_check_worker import Copy, Reply, be_worker

from med3d_pipeline.errors import PipelineError
from med3d_worker.process.library_threads import limit_library_threads


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
                _tell(line, (name, waiting.pop()))
                busy.add(line)
        while busy:
            for ready in wait(list(busy)):
                line = next(one for one in busy if one is ready)
                replies.append(_said(line, lenient=True))
                if waiting:
                    _tell(line, (name, waiting.pop()))
                else:
                    busy.remove(line)
        return replies

    def write_copies(self, count: int, first: int = 0) -> list[Copy]:
        """Return working copies in the store, made by all workers together."""
        replies = self.hand_out("copy", range(first, first + count), self.lines)
        if fault := next((reply.fault for reply in replies if reply.fault), None):
            raise PipelineError(f"no working copies: {fault}")
        return [reply.copy for reply in replies if reply.copy is not None]

    def measure(self, workers: int, copies: Sequence[Copy], device_bytes: Callable[[], int | None]) -> Rate:
        """Return what so many of the workers take for ``copies``, to the last answer. The others wait."""
        lines = self.lines[:workers]
        started = time.perf_counter()
        replies = self.hand_out("work", copies, lines)
        replies += self.hand_out("predict", [None] * len(lines), lines)
        seconds = time.perf_counter() - started
        return rate_of(workers, replies, seconds, device_bytes())


def rate_of(workers: int, replies: Sequence[Reply], seconds: float, device_bytes: int | None) -> Rate:
    """Return means over the studies. Raises PipelineError where none was preprocessed."""
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


def _tell(line: Connection, told: tuple[str, Any]) -> None:
    try:
        line.send(told)
    except OSError as error:
        raise PipelineError("a worker ended before it was told the next") from error


def _said(line: Connection, *, lenient: bool = False) -> Reply:
    try:
        reply = line.recv()
    except (EOFError, OSError) as error:  # OSError: it ended with something of ours unread
        raise PipelineError("a worker ended before it had answered") from error
    assert isinstance(reply, Reply)
    if reply.fault and not lenient:
        raise PipelineError(f"a worker cannot be made ready: {reply.fault}")
    return reply
