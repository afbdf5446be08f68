"""The results API is down for an hour: finished work waits in the publish queue, and nothing is computed twice.

The hour is simulated: the API is away for some seconds, in which the worker really tries and fails to publish, and every
time that the database holds of leases and beats is set back by an hour, which is what an hour would have made of it.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select, update

from chaos.senders import images
from med3d_service.storage.tables import AttemptRow, BeatRow, RunRow
from rig.dicom.uploads import named, zip_of
from rig.processes.waiting import wait_until
from rig.service.arriving import saved
from rig.service.parts import worker
from rig.service.work import BUNDLE

TESTS = Path(__file__).parent.parent.parent
HOUR_S = 3600.0
NUMBERS = (41, 42, 43)


@pytest.fixture
def service(processes):
    processes.start("broker", "api", "courier", "scheduler")
    processes.hello(worker(bundles=(BUNDLE,)))
    return processes


@pytest.fixture
def held(tmp_path):
    path = tmp_path / "hold"
    path.touch()
    return path


@pytest.fixture
def quick_worker(service, held, tmp_path):
    environment = os.environ | service.environment | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH")))),
        "QUICK_WORKER_HOLD": str(held),
        "MED3D_API_URL": service.url,
        "MED3D_STORE_URL": service.settings.store,
        "MED3D_WORKER_KEY_FILE": str(service.data_dir / "worker.key"),
        "MED3D_SCRATCH_DIR": str(tmp_path / "scratch"),
        "MED3D_HEARTBEAT_S": "0.5",
    }  # fmt: skip
    log = tmp_path / "worker.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "rig.processes.quick_worker"],
            env=environment, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    yield log
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def send(service, number):
    study = zip_of(named([saved(one) for one in images(number, f"1.2.{number}")]))
    return service.submit(("study.zip", study)).json()["run_id"]


def let_an_hour_pass(service):
    """Set back what the database holds of the time since."""
    database = service.open_database()
    with database.write() as session:
        session.execute(update(RunRow).values(lease_expires_at=RunRow.lease_expires_at - HOUR_S))
        session.execute(update(BeatRow).values(beat_at=BeatRow.beat_at - HOUR_S))
    database.close()


def claims(service):
    """How often each stage of each run was claimed: (run, stage) of every claim."""
    database = service.open_database()
    with database.read() as session:
        found = session.execute(select(AttemptRow.run_id, AttemptRow.stage)).all()
    database.close()
    return sorted(map(tuple, found))


def answer(service, run_id):
    return wait_until(
        lambda: (found := service.run(run_id))["status"] == "completed" and found["result"]["brain_age"]["estimate"],
        "the answer",
    )


@pytest.mark.long
def test_results_api_down_for_an_hour(service, quick_worker, held):
    runs = {send(service, number): number for number in NUMBERS}
    in_hand = wait_until(
        lambda: [run_id for run_id in runs if service.run(run_id)["status"] == "predicting"],
        "a prediction under way",
    )
    before = claims(service)
    service.stop("scheduler")  # else it would adopt the answer from the store
    service.stop("api", signal.SIGKILL)
    held.unlink()
    wait_until(lambda: list(service.store.list("results")), "finished work in the store")
    wait_until(lambda: quick_worker.read_text().count("Retry in") >= 2, "tries to publish")
    let_an_hour_pass(service)
    service.start("api")
    for run_id in in_hand:
        assert answer(service, run_id) == runs[run_id]
    service.start("scheduler")
    for run_id, number in runs.items():  # those that waited meanwhile come later, in any order
        assert answer(service, run_id) == number
    after = claims(service)
    assert set(before) <= set(after)
    assert after == sorted((run_id, stage) for run_id in runs for stage in ("predict", "preprocess")), "done once each"
