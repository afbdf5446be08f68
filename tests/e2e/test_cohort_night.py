"""A cohort's nights on four hosts: two workers, one of which dies, PostgreSQL and Redis on a third, the service here."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from med3d_client.cohorts import CohortsClient
from med3d_contract.cohorts import NightSchedule
from med3d_pipeline.bundle.bundle import Bundle
from med3d_service.storage.tables import AttemptRow, RunRow, WorkerRow
from rig.processes.hosts import HERE, data_host, hosts
from rig.processes.service import Processes
from rig.processes.waiting import wait_until
from rig.science.bundles import SHIFTED_VERSION, shifted_bundle

pytestmark = [pytest.mark.e2e, pytest.mark.realdata, pytest.mark.long, pytest.mark.timeout(1500)]
SHIFT_YEARS = 3.0
MEMBERS = 10
PATIENCE_S = 600


@pytest.fixture
def dataset(tmp_path):
    """The first subjects of ixi_hh beside a manifest of their own, some with a (made-up) measured SDMT."""
    whole = Path(os.environ.get("MED3D_TEST_DATA", "")) / "ixi_hh"
    if not whole.is_dir():
        pytest.skip("needs the public sample data (MED3D_TEST_DATA)")
    rows = list(csv.DictReader((whole / "participants.csv").read_text().splitlines()))[:MEMBERS]
    folder = tmp_path / "ixi-subset"
    folder.mkdir()
    with (folder / "participants.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "sdmt"])
        writer.writeheader()
        for number, row in enumerate(rows):
            writer.writerow(row | {"t1w": str(whole / row["t1w"]), "sdmt": 50 + number if number % 2 else ""})
    return folder


class Night:
    """The service here, and what it takes to start workers elsewhere."""

    def __init__(self, folder, database_url, broker_url):
        self.folder, self.broker_url = folder, broker_url
        data = folder / "data"
        data.mkdir()
        self.processes = Processes(
            data, MED3D_DATABASE_URL=database_url, MED3D_BROKER_URL=broker_url, MED3D_HOST="0.0.0.0", MED3D_LEASE_S="10",
            MED3D_SWEEP_S="0.5",
        )  # fmt: skip
        self.processes.start("api", "courier", "scheduler")
        self.cohorts = CohortsClient(self.processes.url, self.processes.key)
        self.database = self.processes.open_database()

    def worker(self, host, bundle):
        """A worker knows broker, API, store and its key, and nothing else."""
        settings = self.processes.settings
        return host.start(
            [sys.executable, "-P", "-m", "med3d_cli", "worker"],
            self.folder / f"{host.name}.log",
            MED3D_BROKER_URL=self.broker_url,
            MED3D_API_URL=f"http://{HERE}:{self.processes.port}",
            MED3D_STORE_URL=settings.store,
            MED3D_WORKER_KEY_FILE=str(settings.data_dir / "worker.key"),
            MED3D_SCRATCH_DIR=str(self.folder / f"scratch-{host.name}"),
            MED3D_BUNDLE=str(bundle),
            MED3D_ALLOW_UNTRUSTED_BUNDLE="1",
            MED3D_THREADS="1",
            MED3D_HEARTBEAT_S="1",
            MED3D_ALLOW_DEMONSTRATION_HEADS="1",
        )

    def med3d(self, *words):
        """The command line, as a researcher uses it."""
        environment = os.environ | {"MED3D_URL": self.processes.url, "MED3D_API_KEY": self.processes.key}
        command = [sys.executable, "-P", "-m", "med3d_cli", *map(str, words)]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert said.returncode == 0, said.stderr
        return said.stdout

    def wait_for(self, name, bundle, what, condition):
        def looked():
            return condition(progress := self.cohorts.progress(name, bundle)) and progress

        return wait_until(looked, what, PATIENCE_S, every_s=0.5)

    def attempts(self):
        """Every claim so far."""
        with self.database.read() as session:
            return session.scalars(select(AttemptRow)).all()

    def known_workers(self):
        with self.database.read() as session:
            return session.scalars(select(WorkerRow.worker_id).order_by(WorkerRow.seen_at)).all()

    def close(self):
        self.database.close()
        self.cohorts.close()
        self.processes.close()


def kill(worker):
    """The host loses power: the worker and its children are gone at once."""
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def stop(worker):
    os.killpg(worker.pid, signal.SIGTERM)
    worker.wait(60)


def night_from(moment):
    """A window that opened at ``moment``, for two hours."""
    start, end = moment.replace(microsecond=0), moment.replace(microsecond=0) + timedelta(hours=2)
    return NightSchedule(start=start.time(), end=end.time(), time_zone="UTC")


def test_a_night_with_a_dying_worker_and_the_morning_after_a_second_bundle(tmp_path, dataset):
    with hosts("data", "one", "two") as (data, one, two), data_host(data, tmp_path) as urls:
        night = Night(tmp_path, *urls)
        try:
            work_through(night, one, two, tmp_path, dataset)
        finally:
            night.close()


def work_through(night, one, two, folder, dataset):
    first, second = Bundle.default_path(), shifted_bundle(folder / "next-bundle", SHIFT_YEARS)
    dying = night.worker(one, first)
    (dying_id,) = wait_until(night.known_workers, "the first worker", PATIENCE_S, every_s=0.5)
    survivor = night.worker(two, first)
    wait_until(lambda: len(night.known_workers()) == 2, "the second worker", PATIENCE_S, every_s=0.5)

    assert f"{MEMBERS} sent, 0 in the store already" in night.med3d("cohort", "import", dataset)
    assert f"0 sent, {MEMBERS} in the store already" in night.med3d("cohort", "import", dataset)
    begun = datetime.now(UTC) - timedelta(minutes=30)
    night.cohorts.change("ixi-subset", {"schedule": night_from(begun).model_dump(mode="json")})

    wait_until(lambda: is_in_the_middle(night.attempts(), dying_id), "work by both", PATIENCE_S)
    kill(dying)
    done = night.wait_for("ixi-subset", None, "the night's end", lambda p: p.status == "finished")
    assert (done.members.completed, done.members.all, done.problems) == (MEMBERS, MEMBERS, ())
    everyone_was_answered_once(night, dying_id)
    stop(survivor)

    third = [night.worker(one, second), night.worker(two, second)]
    wait_until(
        lambda: len(night.processes.client.get("/bundles").json()["items"]) == 2, "the second bundle", PATIENCE_S
    )
    next_night = night_from(datetime.now(UTC) - timedelta(seconds=2)).model_dump(mode="json")
    night.cohorts.change("ixi-subset", {"bundle": f"infovae-two-sites@{SHIFTED_VERSION}", "schedule": next_night})
    again = night.wait_for(
        "ixi-subset",
        f"infovae-two-sites@{SHIFTED_VERSION}",
        "the second night's end",
        lambda p: p.status == "finished",
    )
    assert again.members.completed == MEMBERS
    assert {stage.stage for stage in again.stages} == {"predicting"}, "tensors of the first night were used again"
    the_morning_after(night, folder, dataset)
    for worker in third:
        stop(worker)


def is_in_the_middle(attempts, dying_id):
    """Both have ended something, and the one that is to die has just begun with a head."""
    ended = {attempt.worker_id for attempt in attempts if attempt.ended_at is not None}
    in_hand = [a for a in attempts if a.ended_at is None and (a.worker_id, a.stage) == (dying_id, "preprocess")]
    return len(ended) == 2 and any(time.time() - attempt.claimed_at < 1 for attempt in in_hand)


def everyone_was_answered_once(night, dead_id):
    with night.database.read() as session:
        assert session.scalar(select(func.count()).select_from(RunRow)) == MEMBERS
    attempts = night.attempts()
    answered = Counter(attempt.run_id for attempt in attempts if attempt.ending == "completed")
    assert len(answered) == MEMBERS
    assert set(answered.values()) == {1}
    assert {attempt.worker_id for attempt in attempts if attempt.ending == "lost"} == {dead_id}


def the_morning_after(night, folder, dataset):
    diff = night.cohorts.diff("ixi-subset", {})
    assert (diff["members"], diff["both"], diff["first"]["version"], diff["second"]["version"]) == (
        MEMBERS, MEMBERS, Bundle.open(Bundle.default_path()).manifest.version, SHIFTED_VERSION,
    )  # fmt: skip
    assert diff["brain_age_shift"]["shift"]["mean"] == pytest.approx(SHIFT_YEARS, abs=1e-3)
    assert diff["brain_age_shift"]["sd"] == pytest.approx(0, abs=1e-3)
    assert (diff["training_scans"], diff["brain_age_accuracy"]) == (MEMBERS, None), "no scan is new to the model"
    assert diff["sdmt_accuracy"]["people"] == MEMBERS // 2
    assert diff["newly_refused"]["count"] == 0
    page = folder / "morning.html"
    night.med3d("cohort", "diff", "ixi-subset", "--out", page)
    assert "limits of agreement" in page.read_text()
    night.med3d("cohort", "export", "ixi-subset", "--bids", dataset)
    written = (dataset / "derivatives" / "med3d" / "participants.tsv").read_text().splitlines()
    assert len(written) == MEMBERS + 1
