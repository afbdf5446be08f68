"""What a study costs, measured with one worker and with one on every core; then predictions beside other real runs.

    PYTHONPATH=tests python -m bench.bench_capacity [--heads 16] [--write]

Each run is the real service: API, courier, scheduler, broker and workers as processes, and real heads sent over HTTP,
all at once or at random. The heads that are predicted are others than those that the costs were measured on. ``--write``
keeps the table in the package. About six minutes on two cores that nobody else uses.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import redis
from sqlalchemy import select

from bench.measuring import machine, table
from bench.tables_of import database_bytes, number_of
from med3d_cli.capacity import measured
from med3d_cli.capacity.day import OTHERS, SEED, StudyTimes
from med3d_cli.capacity.measured import Check, MeasuredCosts, MemoryBytes, StudyBytes, WorkerSeconds
from med3d_cli.capacity.simulation import WORKERS, quantile, simulate
from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import Priority, RunStatus
from med3d_service.runs.queueing.dispatch import LINES, MAX_QUEUED_TASKS, CeleryBroker
from med3d_service.storage.tables import AttemptRow, RunRow, WorkerRow
from rig.processes.fleets import worker_process
from rig.processes.service import Processes
from rig.processes.waiting import family, wait_until

AIM = 0.15
LOAD = 0.8
MOST_OTHERS = 0.05
CHECKS = ((1, "at once"), (2, "at once"), (2, "at random"))
IDLE_S = 5.0
TASKS = 2000
COMMAND = "PYTHONPATH=tests python -m bench.bench_capacity --write"
SHARES = {"half answered": 0.5, "95 % answered": 0.95, "last answered": 1.0}
ENDED = ("completed", "refused", "failed", "cancelled")


@dataclass(frozen=True)
class Ran:
    """One real run. answered_s: from each study's planned moment to its answer, sorted.

    others: of the processors' time, what went to processes that are not this bench's.
    """

    answered_s: list[float]
    worker: WorkerSeconds
    copy_s: float
    service_s: float
    study: StudyBytes
    redis_worker: float
    worker_bytes: float
    others: float


def groups_of(data, count, groups):
    """``groups`` of ``count`` heads, each evenly through the cohort, without a head in two of them."""
    heads = sorted((data / "ixi_hh" / "t1w").glob("*.nii.gz"))
    step = len(heads) // count
    assert step >= groups, f"{len(heads)} heads are too few for {groups} groups of {count}"
    return [heads[first::step][:count] for first in range(groups)]


def ran(files, count, moments=None):
    """Send ``files`` to a service with ``count`` workers of one thread, and watch it until all are answered.

    moments: seconds after the start at which each is sent; all at once where there are none.
    """
    moments = moments or [0.0] * len(files)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as fleet:
        processes = Processes(Path(folder))
        fleet.callback(processes.close)
        database = processes.open_database()
        fleet.callback(database.close)
        processes.start("broker", "api", "courier", "scheduler")
        without = redis_bytes(processes)
        hands = [fleet.enter_context(worker_process(processes, f"worker-{n}", MED3D_THREADS="1")) for n in range(count)]
        wait_until(lambda: number_of(database, WorkerRow) == count, "the workers", 120)
        redis_worker = (redis_bytes(processes) - without) / count
        empty, spent_before, others_before = database_bytes(database), service_s(processes), others_s()
        sent_at = database.now()
        sent = {}
        for path, moment in zip(files, moments, strict=True):
            time.sleep(max(0.0, sent_at + moment - database.now()))
            sent[submitted(processes, path)] = sent_at + moment
        wait_until(lambda: number_of(database, RunRow, RunRow.status.in_(ENDED)) == len(files), "the end", 500, 0.5)
        took, spent = database.now() - sent_at, service_s(processes) - spent_before
        others = max(0.0, others_s() - others_before) / took / psutil.cpu_count()
        worker_bytes = statistics.mean(sum(one.memory_full_info().pss for one in family(hand.pid)) for hand in hands)
        idle_from = service_s(processes)
        time.sleep(IDLE_S)  # what they spend on nothing is not the studies'
        idle_share = (service_s(processes) - idle_from) / IDLE_S
        with database.read() as session:
            runs = session.scalars(select(RunRow)).all()
            attempts = session.scalars(select(AttemptRow).order_by(AttemptRow.claimed_at)).all()
        assert {run.status for run in runs} <= {"completed", "refused"}, [run.failure for run in runs]
        return Ran(
            answered_s=sorted(run.finished_at - sent[run.id] for run in runs),
            worker=worker_seconds(attempts),
            copy_s=copy_s(Path(folder)),
            service_s=max(0.0, spent - idle_share * took) / len(files),
            study=study_bytes(Path(folder), files, database_bytes(database) - empty),
            redis_worker=max(0.0, redis_worker),
            worker_bytes=worker_bytes,
            others=others,
        )


def submitted(processes, path):
    answer = processes.submit((path.name, path.read_bytes()))
    assert answer.status_code == 202, answer.text
    return answer.json()["run_id"]


def worker_seconds(attempts):
    preprocess = [one.ended_at - one.claimed_at for one in attempts if one.stage == "preprocess"]
    predict = [(one.ended_at - one.claimed_at) / one.batch_size for one in attempts if one.stage == "predict"]
    gaps, last = [], {}
    for one in attempts:
        if one.worker_id in last:
            gaps.append(one.claimed_at - last[one.worker_id])
        last[one.worker_id] = max(one.ended_at, last.get(one.worker_id, 0.0))
    return WorkerSeconds(
        preprocess_s=round(statistics.mean(preprocess), 4),
        preprocess_sd_s=round(statistics.stdev(preprocess), 4),
        predict_s=round(statistics.mean(predict), 4),
        handover_s=round(max(0.0, statistics.median(gaps)), 4),
    )


def copy_s(folder):
    """A courier's time between two working copies, while it has more to make."""
    made = sorted(path.stat().st_mtime for path in (folder / "store" / "working").rglob("*") if path.is_file())
    return round((made[-1] - made[0]) / (len(made) - 1), 4)


def study_bytes(folder, files, grown):
    """By folder of the store, per study."""
    found = {}
    for path in (folder / "store").rglob("*"):
        if path.is_file():
            kind = path.relative_to(folder / "store").parts[0]
            found[kind] = found.get(kind, 0) + path.stat().st_size
    originals, working = found.pop("originals"), found.pop("working")
    per = len(files)
    return StudyBytes(
        sent=sum(path.stat().st_size for path in files) // per,
        originals=originals // per,
        working_copy=working // per,
        derived=sum(found.values()) // per,
        database=grown // per,
    )


def service_s(processes):
    """Processor seconds of API and scheduler so far."""
    everyone = [one for name in ("api", "scheduler") for one in family(processes.running[name].pid)]
    return sum(sum(one.cpu_times()[:2]) for one in everyone)


def others_s():
    """Processor seconds of the whole machine but for this process and what is below it."""
    ours = sum(sum(one.cpu_times()[:4]) for one in family(os.getpid()))
    spent = psutil.cpu_times()
    return spent.user + spent.nice + spent.system + spent.irq + spent.softirq - ours


def redis_bytes(processes):
    with redis.Redis(unix_socket_path=f"{processes.socket_dir}/broker.sock") as client:
        return client.info("memory")["used_memory"]


def task_bytes():
    """Redis memory when idle, and of each task that waits."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as closing:
        processes = Processes(Path(folder))
        closing.callback(processes.close)
        processes.start("broker")
        wait_until((processes.socket_dir / "broker.sock").exists, "the broker")
        idle, broker = redis_bytes(processes), CeleryBroker(processes.settings.broker_url.get_secret_value())
        for number in range(TASKS):
            broker.send(f"00000000-0000-0000-0000-{number:012d}", RunStatus.QUEUED, CELERY_PRIORITY[Priority.COHORT])
        return idle, (redis_bytes(processes) - idle) / TASKS


def costs_of(alone, crowded):
    idle, per_task = task_bytes()
    return MeasuredCosts(
        date=datetime.now(UTC).date().isoformat(),
        command=COMMAND,
        machine=machine(),
        input="T1-weighted heads of 120 x 120 x 90 voxels of 2 mm as NIfTI (IXI, Hammersmith)",
        alone=alone.worker,
        crowded=crowded.worker,
        copy_s=alone.copy_s,
        service_s=round(alone.service_s, 4),
        study=alone.study,
        memory=MemoryBytes(
            redis_idle=idle,
            redis_worker=round(alone.redis_worker),
            redis_task=round(per_task),
            redis_most_tasks=MAX_QUEUED_TASKS * len(LINES),
            worker=round(alone.worker_bytes),
        ),
    )


def checked_costs(costs, found):
    """The table as it is kept: with what was predicted beside real runs, and the GPU that deploy/gpu-check measured."""
    return costs.model_copy(update={"checked": tuple(found), "gpu": measured.shipped_costs().gpu})


def predicted_s(costs, moments, workers):
    """Within how long half, 95 % and all of the studies are answered by one courier and ``workers``."""
    times = StudyTimes(costs.alone if workers == 1 else costs.crowded, costs.copy_s)
    jobs = list(times.jobs([(moment, OTHERS) for moment in moments], copy_pool="couriers"))
    answered = simulate(jobs, {"couriers": 1, WORKERS: workers}).answered_s()
    return {what: quantile(answered, share) for what, share in SHARES.items()}


def at_random(costs, studies, workers):
    """Moments at which studies come on their own, so often that the workers are busy for LOAD of their time."""
    draw, now = random.Random(SEED), 0.0
    moments = []
    for _ in range(studies):
        moments.append(now)
        now += draw.expovariate(LOAD * workers / costs.crowded.study_s)
    return moments


def told(run, what):
    """The run, of which it is said how quiet the machine was."""
    print(f"{what}: preprocessing {run.worker.preprocess_s:.2f} s, others used {100 * run.others:.1f} % of the machine")
    assert run.others < MOST_OTHERS, "the machine is shared; measure on one that is not"
    return run


def checks(costs, files, count, arrivals):
    moments = [0.0] * len(files) if arrivals == "at once" else at_random(costs, len(files), count)
    real = told(ran(files, count, moments), f"check, {count} workers, {arrivals}").answered_s
    predicted = predicted_s(costs, moments, count)
    return [
        Check(
            workers=count,
            studies=len(files),
            arrivals=arrivals,
            what=what,
            predicted_s=round(predicted[what], 1),
            measured_s=round(quantile(real, share), 1),
        )
        for what, share in SHARES.items()
    ]


def main():
    given = argparse.ArgumentParser(description=__doc__)
    beside = Path(__file__).parents[3] / "shared" / "data"
    given.add_argument("--data", type=Path, default=Path(os.environ.get("MED3D_TEST_DATA") or beside))
    given.add_argument("--heads", type=int, default=16)
    given.add_argument("--write", action="store_true")
    chosen = given.parse_args()
    own, *others = groups_of(chosen.data, chosen.heads, 1 + len(CHECKS))
    costs = costs_of(told(ran(own, 1), "costs, 1 worker"), told(ran(own, 2), "costs, 2 workers"))
    found = [
        check
        for files, (count, arrivals) in zip(others, CHECKS, strict=True)
        for check in checks(costs, files, count, arrivals)
    ]
    costs = checked_costs(costs, found)
    rows = [
        (one.workers, one.studies, one.arrivals, one.what, one.predicted_s, one.measured_s, f"{100 * one.error:+.1f} %")
        for one in found
    ]
    print(table(("workers", "studies", "sent", "seconds until", "predicted", "measured", "error"), rows))
    print(f"\nThe aim is {100 * AIM:g} %.\n")
    written = json.dumps(costs.model_dump(), indent=2) + "\n"
    print(written)
    if chosen.write:
        Path(measured.__file__).with_name("measured.json").write_text(written)


if __name__ == "__main__":
    main()
