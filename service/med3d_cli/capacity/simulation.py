"""Studies through pools of servers, event by event: the most urgent that waits is next, and nothing is broken off.

A worker takes by priority, of equal priority the later stage first, of equal stage the oldest: as kombu reads queues
(med3d_contract.queues). A heap holds what is being worked on, a heap per pool what waits for it.
"""

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WORKERS = "workers"


@dataclass(frozen=True, slots=True)
class Step:
    """``seconds`` of one server of ``pool``; pool None: time that passes without a server."""

    pool: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """One study. priority: 0 goes first."""

    arrival_s: float
    priority: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class SimulatedDay:
    """Moments in seconds by job and step, and how much waited for each pool at once at most."""

    jobs: Sequence[Job]
    starts_s: list[list[float]]
    ends_s: list[list[float]]
    most_waiting: dict[str, int]

    @property
    def last_end_s(self) -> float:
        """When everything is over."""
        return max((ends[-1] for ends in self.ends_s), default=0.0)

    def answered_s(self, priority: int | None = None) -> list[float]:
        """Return seconds from arrival to answer, sorted; of one priority, or of all."""
        return sorted(ends[-1] - job.arrival_s for job, ends in self._of(priority, self.ends_s))

    def waited_s(self, pool: str, priority: int | None = None) -> list[float]:
        """Return seconds from arrival to the first step in ``pool``, sorted."""
        first = (
            (job, next(start for step, start in zip(job.steps, starts, strict=True) if step.pool == pool))
            for job, starts in self._of(priority, self.starts_s)
        )
        return sorted(start - job.arrival_s for job, start in first)

    def _of(self, priority: int | None, rows: list[list[float]]) -> list[tuple[Job, list[float]]]:
        return [(j, row) for j, row in zip(self.jobs, rows, strict=True) if priority is None or j.priority == priority]


def simulate(jobs: Sequence[Job], pools: Mapping[str, int]) -> SimulatedDay:
    """Work off ``jobs``, which are sorted by arrival (ValueError else), with so many servers in each pool."""
    if any(later.arrival_s < earlier.arrival_s for earlier, later in itertools.pairwise(jobs)):
        raise ValueError("jobs must be sorted by arrival")
    return _Simulation(jobs, pools).run()


class _Simulation:
    def __init__(self, jobs: Sequence[Job], pools: Mapping[str, int]) -> None:
        self._jobs = jobs
        self._free = dict(pools)
        self._waiting: dict[str, list[tuple[int, int, int]]] = {pool: [] for pool in pools}
        self._most = dict.fromkeys(pools, 0)
        self._running: list[tuple[float, int, int]] = []  # end, job, step
        self._starts: list[list[float]] = [[] for _ in jobs]
        self._ends: list[list[float]] = [[] for _ in jobs]

    def run(self) -> SimulatedDay:
        arriving = 0
        while arriving < len(self._jobs) or self._running:
            arrival = self._jobs[arriving].arrival_s if arriving < len(self._jobs) else math.inf
            if self._running and self._running[0][0] <= arrival:
                self._end(*heapq.heappop(self._running))
            else:
                self._reach(arriving, 0, arrival)
                arriving += 1
        return SimulatedDay(self._jobs, self._starts, self._ends, self._most)

    def _end(self, now: float, number: int, at: int) -> None:
        self._ends[number].append(now)
        pool = self._jobs[number].steps[at].pool
        if pool is not None:
            self._free[pool] += 1
        if at + 1 < len(self._jobs[number].steps):
            self._reach(number, at + 1, now)
        if pool is not None:
            self._take(pool, now)

    def _reach(self, number: int, at: int, now: float) -> None:
        pool = self._jobs[number].steps[at].pool
        if pool is None:
            self._begin(number, at, now)
            return
        heapq.heappush(self._waiting[pool], (self._jobs[number].priority, -at, number))
        self._take(pool, now)
        self._most[pool] = max(self._most[pool], len(self._waiting[pool]))

    def _take(self, pool: str, now: float) -> None:
        while self._free[pool] and self._waiting[pool]:
            _, later, number = heapq.heappop(self._waiting[pool])
            self._free[pool] -= 1
            self._begin(number, -later, now)

    def _begin(self, number: int, at: int, now: float) -> None:
        self._starts[number].append(now)
        heapq.heappush(self._running, (now + self._jobs[number].steps[at].seconds, number, at))


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the sorted ``values`` do not exceed; 0 of none."""
    return values[min(len(values) - 1, max(0, math.ceil(share * len(values)) - 1))] if values else 0.0
