"""One and two workers on real heads beside one and two plain loops over the same files, one core each.

    PYTHONPATH=tests python -m bench.bench_scaling [--heads 12]

A worker's clock runs from its first claim to its last stored result; API, scheduler and broker share the two cores with
it. A loop's runs from its first file to its last prediction.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import select

from bench.measuring import machine, table
from bench.tables_of import database_bytes, number_of
from med3d_contract.results import BundleRef
from med3d_pipeline.bundle.bundle import Bundle
from med3d_service.storage.tables import AttemptRow, RunRow, WorkerRow
from rig.processes.fleets import add_waiting, worker_process
from rig.processes.service import Processes
from rig.processes.waiting import wait_until
from rig.service.work import tar_of

IDLE_S = 5.0


def some_heads(data, count, first=0):
    """Evenly through the cohort, from its ``first``."""
    heads = sorted((data / "ixi_hh" / "t1w").glob("*.nii.gz"))
    return heads[first :: len(heads) // count][:count]


def loops(files, count):
    """Seconds of the slowest of ``count`` loops, each on a core of its own with its share of the files."""
    running = []
    for core in range(count):
        command = [sys.executable, "-m", "bench.plain_loop", "1", *map(str, files[core::count])]
        running.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=lambda core=core: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - one thread
            )
        )
    for loop in running:
        assert loop.stdout.readline() == "ready\n"
    for loop in running:
        loop.stdin.write("go\n")
        loop.stdin.flush()
    took = [float(loop.stdout.readline()) for loop in running]
    for loop in running:
        loop.communicate()
    return max(took)


@dataclass(frozen=True)
class Worked:
    """What workers left behind. seconds: first claim to last stored result. Processor seconds are of API and scheduler."""

    seconds: float
    stages: dict[str, float]
    preprocess_s: list[float]
    predict_s: list[float]
    service_s: float
    store_bytes: int
    database_bytes: int


def workers(files, count):
    """``count`` real workers, one core each, on copies of ``files`` that wait for them."""
    bundle = Bundle.open(Bundle.default_path())
    reference = BundleRef(name=bundle.name, version=bundle.version, digest=bundle.digest)
    copies = [tar_of({f"head-{n}.nii.gz": path.read_bytes()}) for n, path in enumerate(files)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as fleet:
        processes = Processes(Path(folder))
        database = processes.open_database()
        fleet.callback(processes.close)
        fleet.callback(database.close)
        processes.start("broker", "api")
        for core in range(count):
            fleet.enter_context(worker_process(processes, f"worker-{core}", cores={core}, MED3D_THREADS="1"))
        wait_until(lambda: number_of(database, WorkerRow) == count, "the workers", 120)
        empty = database_bytes(database)
        add_waiting(processes, len(files), bundle=reference, working_copies=copies)
        processes.start("scheduler")
        before = service_s(processes)
        done = RunRow.status.in_(("completed", "refused", "failed"))
        wait_until(lambda: number_of(database, RunRow, done) == len(files), "the last result", 600, every_s=0.5)
        spent, started = service_s(processes) - before, time.monotonic()
        time.sleep(IDLE_S)  # what they spend on nothing is not the studies'
        idle_s = (service_s(processes) - before - spent) / (time.monotonic() - started)
        with database.read() as session:
            runs = session.scalars(select(RunRow)).all()
            attempts = session.scalars(select(AttemptRow)).all()
        assert {run.status for run in runs} == {"completed"}, [run.failure or run.refusal for run in runs]
        took = max(run.finished_at for run in runs) - min(attempt.claimed_at for attempt in attempts)
        return Worked(
            seconds=took,
            stages=stages_of(runs),
            preprocess_s=[a.ended_at - a.claimed_at for a in attempts if a.stage == "preprocess"],
            predict_s=[(a.ended_at - a.claimed_at) / a.batch_size for a in attempts if a.stage == "predict"],
            service_s=max(0.0, spent - idle_s * took) / len(files),
            store_bytes=sum(path.stat().st_size for path in (Path(folder) / "store").rglob("*") if path.is_file()),
            database_bytes=database_bytes(database) - empty,
        )


def stages_of(runs):
    """Seconds by stage, summed over the runs."""
    stages: dict[str, float] = {}
    for run in runs:
        for stage, seconds in run.provenance["timings_s"].items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    return stages


def service_s(processes):
    """Processor seconds of API and scheduler so far."""
    times = [psutil.Process(processes.running[name].pid).cpu_times() for name in ("api", "scheduler")]
    return sum(one.user + one.system for one in times)


def options(description):
    given = argparse.ArgumentParser(description=description)
    beside = Path(__file__).parents[3] / "shared" / "data"
    given.add_argument("--data", type=Path, default=Path(os.environ.get("MED3D_TEST_DATA") or beside))
    given.add_argument("--heads", type=int, default=12)
    return given


def main():
    chosen = options(__doc__).parse_args()
    files = some_heads(chosen.data, chosen.heads)
    loop = {count: loops(files, count) for count in (1, 2)}
    worked = {count: workers(files, count) for count in (1, 2)}
    rows = [
        (
            f"{count}",
            f"{loop[count]:.1f}",
            f"{worked[count].seconds:.1f}",
            f"{100 * (worked[count].seconds / loop[count] - 1):+.1f} %",
            f"{100 * loop[count] / worked[count].seconds:.0f} %",
            "at most +5 %" if count == 1 else "at least 90 %",
        )
        for count in (1, 2)
    ]
    print(f"{len(files)} heads of 2 mm (IXI, Hammersmith), one core and one thread each; seconds.\n")
    print(table(("how many", "loops", "workers", "slower by", "of the loops' rate", "aim"), rows))
    for count in (1, 2):
        total, stages = worked[count].seconds, worked[count].stages
        known = sum(stages.values())
        print(f"\n{count} workers: {total * count:.1f} s of workers' time, {known:.1f} s in stages: ", end="")
        print(", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items()), end=".\n")
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
