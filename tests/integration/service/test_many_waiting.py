"""A cohort's night with real workers (the science is a stub): a stat study goes first, and workers come and go."""

import signal

import pytest
from sqlalchemy import func, select

from med3d_contract.results import Priority
from med3d_service.runs.queueing.dispatch import MAX_QUEUED_TASKS, CeleryBroker, send_waiting
from med3d_service.storage.tables import AttemptRow, RunEventRow, RunRow
from rig.processes.fleets import add_waiting, worker_process
from rig.processes.service import START_TIMEOUT_S, Processes
from rig.processes.waiting import wait_until
from rig.service.work import BUNDLE

COHORT = MAX_QUEUED_TASKS + 100
"""More than the queue holds at a time."""


@pytest.fixture
def night(tmp_path):
    processes = Processes(tmp_path, MED3D_LEASE_S="5", MED3D_SWEEP_S="0.2")
    database = processes.open_database()
    try:
        processes.start("broker", "api", "scheduler")
        yield Night(processes, database, add_waiting(processes, COHORT))
    finally:
        database.close()
        processes.close()


class Night:
    def __init__(self, processes, database, cohort):
        self.processes, self.database, self.cohort = processes, database, cohort

    def worker(self, name, run_ms):
        return worker_process(self.processes, name, "rig.processes.stub_worker", str(run_ms), MED3D_HEARTBEAT_S="1")

    def done(self):
        with self.database.read() as session:
            ended = select(func.count()).select_from(RunRow).where(RunRow.status == "completed")
            return session.execute(ended).scalar_one()

    def add_stat(self):
        """As the courier does it: recorded, then sent at once."""
        (run_id,) = add_waiting(self.processes, 1, Priority.STAT, BUNDLE)
        broker = CeleryBroker(self.processes.settings.broker_url.get_secret_value())
        send_waiting(self.database, broker, redispatch_s=10, run_ids=[run_id])  # unless the sweep was first
        broker.close()
        return run_id

    def run(self, run_id):
        with self.database.read() as session:
            return session.scalars(select(RunRow).where(RunRow.id == run_id)).one()

    def claims(self, stage):
        """The moments of all claims of a stage, each once however many runs it was for; and those by run."""
        with self.database.read() as session:
            rows = session.scalars(select(AttemptRow).where(AttemptRow.stage == stage)).all()
        return sorted({row.claimed_at for row in rows}), {row.run_id: row for row in rows}

    def events(self):
        with self.database.read() as session:
            ends = select(RunEventRow.run_id, func.count()).where(RunEventRow.status == "completed")
            return dict(session.execute(ends.group_by(RunEventRow.run_id)).all())


@pytest.mark.long
def test_a_stat_study_behind_a_cohort_starts_when_the_task_in_hand_is_done_on_every_stage(night):
    with night.worker("worker", run_ms=20):
        wait_until(lambda: night.done() > 0, "the first result of the cohort", START_TIMEOUT_S)
        stat = night.add_stat()
        wait_until(lambda: night.run(stat).status == "completed", "the answer to the stat study", START_TIMEOUT_S)
        assert night.done() < COHORT, "the cohort was still waiting"
    with night.database.read() as session:
        sent = session.scalars(
            select(RunEventRow.at).where(RunEventRow.run_id == stat, RunEventRow.status.in_(("queued", "preprocessed")))
        ).all()
    for stage, ready in zip(("preprocess", "predict"), sorted(sent), strict=True):
        moments, by_run = night.claims(stage)
        before = [moment for moment in moments if ready < moment < by_run[stat].claimed_at]
        assert len(before) <= 1, f"{len(before)} claims of the {stage} stage came between"


@pytest.mark.long
def test_workers_that_join_and_are_killed_in_the_middle_lose_and_double_nothing(night):
    with night.worker("first", run_ms=5) as first:
        wait_until(lambda: night.done() > 0, "the first result", START_TIMEOUT_S)
        with night.worker("second", run_ms=5):
            first.send_signal(signal.SIGKILL)
            wait_until(lambda: night.done() == COHORT, "the last result", 120)
    assert night.events() == dict.fromkeys(night.cohort, 1)
