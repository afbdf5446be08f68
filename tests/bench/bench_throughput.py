"""Ten thousand queued studies with a stub for the science: studies per second, and memory while they pass.

    PYTHONPATH=tests python -m bench.bench_throughput [--studies 10000] [--workers 2] [--run-ms 5] [--database postgresql]

API, scheduler, broker, store and workers are the real processes. The clock runs from the scheduler's first sweep to the
last stored result.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from pathlib import Path

import psutil
import redis
from sqlalchemy import func, select

from bench.measuring import machine, table
from med3d_contract.results import Priority
from med3d_service.runs.queueing.dispatch import CeleryBroker, send_waiting
from med3d_service.storage.tables import AttemptRow, RunEventRow, RunRow, WorkerRow
from rig.processes.fleets import add_waiting, worker_process
from rig.processes.service import Processes, new_database, postgresql
from rig.processes.waiting import family, wait_until

MEBIBYTE = 2**20
AIM_PER_S = 100.0
STAT_EVERY = 8


def alive(database):
    with database.read() as session:
        return session.execute(select(func.count()).select_from(WorkerRow)).scalar_one()


class Watch:
    """Memory of the parts and the number of results, once a second."""

    def __init__(self, processes, database):
        self.processes, self.database = processes, database
        self.broker = redis.Redis(unix_socket_path=f"{processes.socket_dir}/broker.sock")
        self.sender = CeleryBroker(processes.settings.broker_url.get_secret_value())
        self.rows = []
        self.stat = []

    def look(self):
        with self.database.read() as session:
            done = session.execute(
                select(func.count()).where(RunRow.status == "completed").select_from(RunRow)
            ).scalar_one()
        used = self.broker.info("memory")["used_memory"]
        memory = {name: rss(self.processes.running[name].pid) for name in ("api", "scheduler")}
        self.rows.append((time.monotonic(), done, used, memory["api"], memory["scheduler"]))
        return done

    def look_and_add_stat(self):
        """Every STAT_EVERY looks a stat study comes in between, recorded and sent as the courier does it."""
        done = self.look()
        if len(self.rows) % STAT_EVERY == 0:
            (run_id,) = add_waiting(self.processes, 1, Priority.STAT)
            send_waiting(self.database, self.sender, redispatch_s=10, run_ids=[run_id])  # unless the sweep was first
            self.stat.append(run_id)
        return done

    def peak(self, column):
        return max(row[column] for row in self.rows) / MEBIBYTE

    def share(self, column, first, last):
        """Mean of a column between two parts of the run."""
        some = self.rows[int(first * len(self.rows)) : max(int(last * len(self.rows)), 1)]
        return sum(row[column] for row in some) / len(some) / MEBIBYTE


def stat_waits(session, stat):
    """For each stage: how long stat studies waited for it, and how long the longest claim of the cohort took."""
    ready = {
        (event.run_id, event.status): event.at
        for event in session.scalars(select(RunEventRow).where(RunEventRow.run_id.in_(stat)))
    }
    found = {}
    for stage, waiting in (("preprocess", "queued"), ("predict", "preprocessed")):
        attempts = session.scalars(select(AttemptRow).where(AttemptRow.stage == stage)).all()
        waits = [one.claimed_at - ready[one.run_id, waiting] for one in attempts if one.run_id in set(stat)]
        found[stage] = waits, max(one.ended_at - one.claimed_at for one in attempts if one.run_id not in set(stat))
    return found


def rss(pid):
    return sum(one.memory_info().rss for one in family(pid))


def measure(folder, studies, workers, run_ms, **environment):
    """Run it once; the watch, and the moments of all results."""
    processes = Processes(folder, **environment)
    database = processes.open_database()
    try:
        processes.start("broker", "api")
        add_waiting(processes, studies)
        with contextlib.ExitStack() as fleet:
            hands = {}
            for number in range(workers):
                name = f"worker-{number}"
                hands[name] = fleet.enter_context(
                    worker_process(processes, name, "rig.processes.stub_worker", str(run_ms))
                )
            wait_until(lambda: alive(database) >= workers, "the workers", 60)
            watch = Watch(processes, database)
            processes.start("scheduler")
            begun, busy_before, ours_before = (
                database.now(),
                busy_s(),
                sum(processor_s(processes.running | hands).values()),
            )
            wait_until(lambda: watch.look_and_add_stat() >= studies, "the last result", 600, every_s=1.0)
            wait_until(lambda: watch.look() == studies + len(watch.stat), "the last stat result", 60)
            spent = processor_s(processes.running | hands)
            others = busy_s() - busy_before - (sum(spent.values()) - ours_before)
        with database.read() as session:
            ended = sorted(session.scalars(select(RunRow.finished_at)))
            urgent = stat_waits(session, watch.stat)
        return watch, [moment - begun for moment in ended], urgent, spent, others
    finally:
        database.close()
        processes.close()


def processor_s(running):
    """Processor seconds of processes and their children."""
    spent = {}
    for name, process in running.items():
        times = [one.cpu_times() for one in family(process.pid)]
        spent[name] = sum(one.user + one.system for one in times)
    return spent


def busy_s():
    """Processor seconds of the whole machine."""
    times = psutil.cpu_times()
    return times.user + times.system + times.nice + times.irq + times.softirq


def show(given, watch, ended, urgent, spent, others):
    half = len(ended) // 2
    quarter = len(ended) // 4
    first = quarter / ended[quarter - 1]
    last = quarter / (ended[-1] - ended[-quarter])
    rows = [
        ("dispatch to stored result, studies/s", f"{len(ended) / ended[-1]:.0f}", f"{AIM_PER_S:.0f}"),
        ("first quarter, last quarter, studies/s", f"{first:.0f}, {last:.0f}", "flat"),
        ("Redis, peak, MiB", f"{watch.peak(2):.1f}", "200"),
        ("API, peak resident, MiB", f"{watch.peak(3):.0f}", "300"),
        ("API, second and last fifth, MiB", f"{watch.share(3, 0.2, 0.4):.0f}, {watch.share(3, 0.8, 1):.0f}", "flat"),
        ("scheduler, peak resident, MiB", f"{watch.peak(4):.0f}", ""),
    ]
    print(f"{len(ended)} studies, {given.workers} workers, {given.run_ms:g} ms of stub each; {given.database}.\n")
    print(table(("what", "measured", "aim"), rows))
    print(
        f"\n{len(watch.stat)} stat studies in between; the longest claim of a task is what they may have to wait for.\n"
    )
    stages = [
        (stage, f"{statistics.median(waits):.2f}", f"{max(waits):.2f}", f"{longest:.2f}")
        for stage, (waits, longest) in urgent.items()
    ]
    print(table(("stage", "waited, median, s", "at most, s", "longest claim, s"), stages))
    print(f"\nHalf of the results were there after {ended[half]:.1f} s, all after {ended[-1]:.1f} s.")
    print("Processor seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in spent.items()))
    print(
        f"Everything else on the machine, this bench included: {others:.1f} s of {ended[-1] * psutil.cpu_count():.0f}."
    )
    print(machine())


def main():
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--studies", type=int, default=10_000)
    given.add_argument("--workers", type=int, default=2)
    given.add_argument("--run-ms", type=float, default=5.0)
    given.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    chosen = given.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        environment = {}
        if chosen.database == "postgresql":
            environment["MED3D_DATABASE_URL"] = new_database(stack.enter_context(postgresql(fsync=True)))
        found = measure(Path(folder), chosen.studies, chosen.workers, chosen.run_ms, **environment)
    show(chosen, *found)


if __name__ == "__main__":
    main()
