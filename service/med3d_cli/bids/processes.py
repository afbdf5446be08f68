"""Scans worked through by one process or by several; one that dies takes no other scan with it."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from med3d_cli.bids.dataset import Scan
from med3d_cli.studies.analyse import open_analyser
from med3d_contract.results import RunStatus

if TYPE_CHECKING:
    from med3d_cli.bids.scans import Order, Outcome
    from med3d_worker.analysis import Analyser

PROCESS_DIED = "process_died"
_analyser: "Analyser | None" = None  # of a child process, which opens the model once


@dataclass(frozen=True)
class Model:
    """Which model the processes open: None is the one that the project ships."""

    bundle: Path | None
    calibration: Path | None

    def open(self, processes: int) -> "Analyser":
        """Open it for one of ``processes``, which share the machine's cores. Raises CommandError."""
        threads = None if processes == 1 else max(1, (os.cpu_count() or 1) // processes)
        return open_analyser(self.bundle, self.calibration, pictures=True, threads=threads)


def answer_all(model: Model, scans: Sequence[Scan], order: "Order", processes: int) -> Iterator["Outcome"]:
    """Answer every scan, as each comes to its end. Raises CommandError where the model cannot be opened."""
    from med3d_cli.bids.scans import answer_scan

    analyser = model.open(processes)
    if processes == 1 or len(scans) < 2:
        for scan in scans:
            yield answer_scan(analyser, scan, order)
        return
    del analyser  # it was opened to say what is wrong with the model, once and in this process
    yield from in_processes(_answer_in_child, scans, order, processes, (model, processes))


def in_processes(
    answer: Callable[[Scan, "Order"], "Outcome"],
    scans: Sequence[Scan],
    order: "Order",
    processes: int,
    opened_with: tuple[Model, int] | None,
) -> Iterator["Outcome"]:
    """Share scans out. Where a process dies, each scan without an answer gets one of its own, and may fail alone."""
    left = list(scans)
    with _pool(processes, opened_with) as pool:
        waiting = {pool.submit(answer, scan, order): scan for scan in scans}
        for done in as_completed(waiting):
            try:
                outcome = done.result()
            except BrokenProcessPool:
                continue
            left.remove(waiting[done])
            yield outcome
    for scan in left:
        yield _alone(answer, scan, order, opened_with)


def _alone(
    answer: Callable[[Scan, "Order"], "Outcome"], scan: Scan, order: "Order", opened_with: tuple[Model, int] | None
) -> "Outcome":
    from med3d_cli.bids.scans import Outcome

    with _pool(1, opened_with) as pool:
        try:
            return pool.submit(answer, scan, order).result()
        except BrokenProcessPool:
            return Outcome(scan.name.stem, RunStatus.FAILED, code=PROCESS_DIED)


def _pool(processes: int, opened_with: tuple[Model, int] | None) -> ProcessPoolExecutor:
    # Spawned: runtimes of networks do not survive a fork.
    context = multiprocessing.get_context("spawn")
    if opened_with is None:
        return ProcessPoolExecutor(processes, context)
    return ProcessPoolExecutor(processes, context, _open_in_child, opened_with)


def _open_in_child(model: Model, processes: int) -> None:
    global _analyser  # noqa: PLW0603 - what a process of a pool is initialised with has no other place
    _analyser = model.open(processes)


def _answer_in_child(scan: Scan, order: "Order") -> "Outcome":
    from med3d_cli.bids.scans import answer_scan

    assert _analyser is not None
    return answer_scan(_analyser, scan, order)
