"""When the studies of a day come, and what each asks of whom."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from med3d_cli.capacity.measured import WorkerSeconds
from med3d_cli.capacity.simulation import WORKERS, Job, Step

DAY_H, DAY_S = 24.0, 86_400.0
STAT, OTHERS = 0, 1
SEED = 2510
Arrivals = Literal["office", "even", "night"]


@dataclass(frozen=True)
class DayShape:
    """``office``: ``busy_share`` of the studies evenly over ``busy_h`` hours, the rest evenly over the others, if any.

    ``even``: at any time. ``night``: a cohort that waits when the window of ``window_h`` hours opens. Stat studies are
    ``stat_share`` of all; those of a night come at any time of its window. Seconds count from midnight, or from the
    window's opening.
    """

    arrivals: Arrivals = "office"
    stat_share: float = 0.01
    busy_share: float = 0.7
    busy_from_h: float = 8.0
    busy_h: float = 10.0
    window_h: float = 8.0

    @property
    def _has_quiet_hours(self) -> bool:
        return self.arrivals == "office" and self.busy_h < DAY_H

    @property
    def span_s(self) -> float:
        """How long the work may last: a day, or the night's window."""
        return self.window_h * 3600 if self.arrivals == "night" else DAY_S

    def busiest_per_s(self, studies: float) -> float:
        """Return studies per second at the busiest hour."""
        if not self._has_quiet_hours:
            return studies / self.span_s
        rest = (1 - self.busy_share) / (DAY_H - self.busy_h)
        return studies * max(self.busy_share / self.busy_h, rest) / 3600

    def coming_per_s(self, studies: float) -> float:
        """Return new studies per second at the busiest hour; those that a night works off came during the day."""
        return studies / DAY_S if self.arrivals == "night" else self.busiest_per_s(studies)

    def moments(self, studies: int) -> list[tuple[float, int]]:
        """Return (seconds, priority) of each study, sorted; drawn at random, the same each time."""
        draw = random.Random(SEED)  # noqa: S311 - arrivals are no secret
        stat = round(studies * self.stat_share)
        urgent = [(self._moment(draw), STAT) for _ in range(stat)]
        if self.arrivals == "night":
            return sorted([*urgent, *((0.0, OTHERS) for _ in range(studies - stat))])
        return sorted([*urgent, *((self._moment(draw), OTHERS) for _ in range(studies - stat))])

    def _moment(self, draw: random.Random) -> float:
        if not self._has_quiet_hours:
            return self.span_s * draw.random()
        start, length = self.busy_from_h * 3600, self.busy_h * 3600
        if draw.random() < self.busy_share:
            return start + length * draw.random()
        return (start + length + (DAY_S - length) * draw.random()) % DAY_S


@dataclass(frozen=True)
class StudyTimes:
    """What a study asks for, in seconds. copy_s: before workers may have it; gpu_s: None where workers predict."""

    worker: WorkerSeconds
    copy_s: float
    speed: float = 1.0
    gpu_s: float | None = None

    @property
    def on_workers_s(self) -> float:
        """Of a worker's time."""
        worker = self.worker
        found = worker.study_s if self.gpu_s is None else worker.preprocess_s + worker.handover_s
        return found / self.speed

    def jobs(self, moments: list[tuple[float, int]], copy_pool: str | None = None) -> Iterator[Job]:
        """Return a job for each moment; preprocessing varies as it was measured to, cut at a tenth of its mean."""
        draw = random.Random(SEED + 1)  # noqa: S311 - nor is how long a study takes
        worker, speed = self.worker, self.speed
        copy = Step(copy_pool, self.copy_s / speed)
        predict = Step(WORKERS, (worker.predict_s + worker.handover_s) / speed)
        if self.gpu_s is not None:
            predict = Step(None, self.gpu_s + worker.handover_s)
        for arrival_s, priority in moments:
            varied = max(0.1 * worker.preprocess_s, draw.gauss(worker.preprocess_s, worker.preprocess_sd_s))
            preprocess = Step(WORKERS, (varied + worker.handover_s) / speed)
            yield Job(arrival_s, priority, (copy, preprocess, predict))
