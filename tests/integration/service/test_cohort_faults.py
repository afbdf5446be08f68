"""What happens to the surroundings of a night in its middle, with the service's own processes."""

import base64
import io
import json
import signal
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import redis

from med3d_client.study_stream import Upload
from med3d_client.worker import Superseded
from med3d_contract.cohorts import CohortDraft, NightSchedule
from rig.dicom.uploads import nifti_file
from rig.processes.waiting import wait_until
from rig.service.parts import completed, preprocessed, worker

WORKER = worker()
MEMBERS = 4


@pytest.fixture
def service(processes):
    processes.start("broker", "api", "courier", "scheduler")
    processes.hello(WORKER)
    return processes


def night_around_now():
    """A window whose middle is now; the hour on the clock is of no account."""
    now = datetime.now(UTC)
    start, end = ((now + timedelta(hours=hours)).time().replace(microsecond=0) for hours in (-3, 3))
    return NightSchedule(start=start, end=end, time_zone="UTC")


def take_task(service):
    """What a worker's Celery does: take one message of the preprocess queue; the run's id, None where there is none."""
    try:
        with redis.Redis(unix_socket_path=f"{service.socket_dir}/broker.sock") as broker:
            message = next(filter(None, (broker.rpop(key) for key in sorted(broker.keys("preprocess*")))), None)
    except redis.ConnectionError:
        return None
    return message and json.loads(base64.b64decode(json.loads(message)["body"]))[0][0]


def work_through(service, count):
    """Bring so many runs to their ends, as their tasks come; their ids."""
    done = []
    while len(done) < count:
        run_id = wait_until(lambda: take_task(service), f"the task behind {len(done)} others")
        try:
            claim = service.worker.claim_preprocess(run_id, WORKER).claims[0]
        except Superseded:
            continue  # sent twice, which a queue that looked drained for a second is
        service.worker.preprocessed({run_id: preprocessed(claim.attempt)})
        (ready,) = service.claim_predict(WORKER, 1)
        service.worker.outcome(run_id, completed(ready.attempt))
        done.append(run_id)
    return done


@pytest.mark.long
def test_a_night_goes_on_where_it_was_when_redis_restarts_empty_in_its_middle(service, cohorts):
    name = cohorts.create(CohortDraft(name=f"c-{uuid.uuid4().hex[:12]}", schedule=night_around_now())).name
    for _ in range(MEMBERS):
        cohorts.send(name, Upload("study.nii", io.BytesIO(nifti_file() + uuid.uuid4().bytes)))
    done = work_through(service, 1)
    wait_until(service.tasks, "the night's other tasks")
    service.stop("broker", signal.SIGKILL)
    assert cohorts.progress(name).status == "running"
    service.start("broker")  # it kept nothing
    done += work_through(service, MEMBERS - 1)
    last = list(cohorts.follow(name))[-1]
    assert (last.status, last.members.completed) == ("finished", MEMBERS)
    attempts = [service.run(run_id)["attempt"] for run_id in done]
    assert attempts == [1] * MEMBERS, "the restart cost nobody a try"
