"""From studies a day to workers, memory, disk and money."""

import math
from dataclasses import dataclass, replace
from typing import Self

from med3d_cli.capacity.day import STAT, DayShape, StudyTimes
from med3d_cli.capacity.measured import MeasuredCosts
from med3d_cli.capacity.simulation import WORKERS, SimulatedDay, quantile, simulate

TB = 1e12
MONTH_H = 730.0
MOST_SIMULATED = 100_000
"""Of a larger day a part is simulated, with that part of the workers: a larger system waits less, not more."""
UTILISATION = 0.7
"""At the busiest hour, of GPUs, couriers and the service's cores: the rest is room for what comes in bunches."""


class TooShortError(ValueError):
    """No number of workers answers in that time: a study alone takes longer."""


@dataclass(frozen=True)
class Prices:
    """The user's own, in any currency; 0 is not counted."""

    core_hour: float = 0.0
    gpu_hour: float = 0.0
    tb_month: float = 0.0


@dataclass(frozen=True)
class Demand:
    """What is asked for. target_s: of ``target_share`` of the studies. speed: of the cores, those of the table being 1.

    gpu_s: of one head on a GPU, None without. gpu_preprocesses: its brain networks too, by workers that share the GPU,
    as the table measured them. study_bytes: of a study as it is sent, None: as measured.
    """

    studies: int
    shape: DayShape
    target_s: float
    target_share: float = 0.95
    speed: float = 1.0
    gpu_s: float | None = None
    gpu_preprocesses: bool = False
    study_bytes: float | None = None
    kept_days: int = 365


@dataclass(frozen=True)
class CapacityPlan:
    """What it takes. Pairs of seconds: half, and 95 %, of the studies. busy: of the workers' time over the span.

    answered_s: from arrival to answer. stat_start_s: from a stat study's arrival until a worker has it. costs: of a
    month, with workers that are always there, and with such that are there only while they work.
    """

    demand: Demand
    workers: int
    gpus: int
    couriers: int
    service_cores: int
    answered_s: tuple[float, float]
    stat_start_s: tuple[float, float]
    studies_per_hour: float
    busy: float
    worker_memory_bytes: float
    redis_bytes: float
    store_bytes_day: float
    database_bytes_day: float
    cost_month: float
    cost_month_if_scaled: float


def plan(demand: Demand, costs: MeasuredCosts, prices: Prices, most_simulated: int = MOST_SIMULATED) -> CapacityPlan:
    """Simulate the day with more and more workers until it is good enough. Raises TooShortError where it never is."""
    day = Day.of(demand, costs, most_simulated)
    few = day.fewest_workers()
    found = day.outcome(few)
    workers, busiest = math.ceil(few / day.part), demand.shape.busiest_per_s(demand.studies)
    coming = demand.shape.coming_per_s(demand.studies)
    sent = costs.study.sent if demand.study_bytes is None else demand.study_bytes
    larger = sent / costs.study.sent
    waiting = found.most_waiting[WORKERS] / day.part
    made = CapacityPlan(
        demand=demand,
        workers=workers,
        gpus=0 if demand.gpu_s is None else _servers(busiest, demand.gpu_s),
        couriers=_servers(coming, costs.copy_s * larger / demand.speed),
        service_cores=_servers(busiest, costs.service_s / demand.speed),
        answered_s=_half_and_most(found.answered_s()),
        stat_start_s=_half_and_most(found.waited_s(WORKERS, STAT)),
        studies_per_hour=3600 * workers / day.times.on_workers_s,
        busy=min(1.0, demand.studies * day.times.on_workers_s / (workers * demand.shape.span_s)),
        worker_memory_bytes=workers * costs.memory.worker,
        redis_bytes=_redis_bytes(costs, workers, waiting),
        store_bytes_day=demand.studies
        * ((costs.study.originals + costs.study.working_copy) * larger + costs.study.derived),
        database_bytes_day=demand.studies * costs.study.database,
        cost_month=0.0,
        cost_month_if_scaled=0.0,
    )
    return _priced(made, prices)


class Day:
    """The day, or the part of it that is simulated."""

    def __init__(self, demand: Demand, times: StudyTimes, most_simulated: int) -> None:
        self._demand, self.times = demand, times
        simulated = min(demand.studies, most_simulated)
        self.part = simulated / demand.studies
        self._jobs = list(times.jobs(demand.shape.moments(simulated)))

    @classmethod
    def of(cls, demand: Demand, costs: MeasuredCosts, most_simulated: int = MOST_SIMULATED) -> Self:
        """Return the day of ``demand``, on hosts that are full."""
        gpu = costs.gpu if demand.gpu_preprocesses else None
        if gpu is not None and gpu.worker is not None:  # who preprocesses there predicts there
            return cls(demand, StudyTimes(gpu.worker, costs.copy_s, demand.speed), most_simulated)
        return cls(demand, StudyTimes(costs.crowded, costs.copy_s, demand.speed, demand.gpu_s), most_simulated)

    def outcome(self, workers: int) -> SimulatedDay:
        """Return what happens with so many workers in the simulated part."""
        return simulate(self._jobs, {WORKERS: workers})

    def fewest_workers(self) -> int:
        """Return the number with which ``target_share`` of the studies are answered in time."""
        if not self._is_enough(len(self._jobs)):
            raise TooShortError
        least = len(self._jobs) * self.times.on_workers_s / (2 * self._demand.shape.span_s)
        too_few, enough = 0, max(1, math.floor(least))
        while not self._is_enough(enough):
            too_few, enough = enough, 2 * enough
        while enough - too_few > 1:
            middle = (enough + too_few) // 2
            if self._is_enough(middle):
                enough = middle
            else:
                too_few = middle
        return enough

    def _is_enough(self, workers: int) -> bool:
        demand = self._demand
        return quantile(self.outcome(workers).answered_s(), demand.target_share) <= demand.target_s


def _half_and_most(values: list[float]) -> tuple[float, float]:
    return quantile(values, 0.5), quantile(values, 0.95)


def _servers(per_s: float, seconds: float) -> int:
    return max(1, math.ceil(per_s * seconds / UTILISATION))


def _redis_bytes(costs: MeasuredCosts, workers: int, waiting: float) -> float:
    memory = costs.memory
    tasks = waiting if memory.redis_most_tasks is None else min(waiting, memory.redis_most_tasks)
    return memory.redis_idle + workers * memory.redis_worker + tasks * memory.redis_task


def _priced(made: CapacityPlan, prices: Prices) -> CapacityPlan:
    kept = (made.store_bytes_day + made.database_bytes_day) * made.demand.kept_days / TB
    always = (made.couriers + made.service_cores) * prices.core_hour * MONTH_H + kept * prices.tb_month
    workers = (made.workers * prices.core_hour + made.gpus * prices.gpu_hour) * MONTH_H
    shape = made.demand.shape
    return replace(
        made, cost_month=always + workers, cost_month_if_scaled=always + workers * made.busy * shape.span_s / 86_400
    )
