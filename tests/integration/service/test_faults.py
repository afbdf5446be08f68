"""Processes that die, brokers that forget, senders that hang up: nothing acknowledged is lost, nothing is left behind."""

import signal
import socket
import sqlite3
import time
from contextlib import closing, suppress

import psutil
import pytest
from pydicom.uid import generate_uid
from sqlalchemy import update

from med3d_client.worker import Superseded
from med3d_contract.work import ActiveAttempt, Heartbeat, RunOutcome, StoredOutcomes
from med3d_service.storage.tables import BeatRow, RunRow
from rig.dicom.uploads import BOUNDARY, CONTENT_TYPE, dicom_files, files_form, named, zip_of
from rig.processes.waiting import children, wait_until
from rig.service.parts import completed, preprocessed, worker

WORKER = worker()
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def standing(standing_processes):
    """The service for what leaves it as it was, or mends what it broke."""
    standing_processes.hello(WORKER)
    return standing_processes


@pytest.fixture
def service(processes):
    """The service of one test's own, with nothing in its queue."""
    processes.start("broker", "api", "courier", "scheduler")
    processes.hello(WORKER)
    return processes


def send(service):
    """Send a study that nobody has sent before."""
    return service.submit(("study.zip", zip_of(named(dicom_files(StudyInstanceUID=generate_uid())))))


def claim(service, run_id):
    def claimed():
        try:
            return service.worker.claim_preprocess(run_id, WORKER).claims[0]
        except Superseded:
            return None

    return wait_until(claimed, "the claim")


def pause(service, name):
    """Stop a process between its transactions: in one it would keep SQLite's only writer, and nothing could be sent."""

    process = psutil.Process(service.running[name].pid)

    def stopped():
        process.suspend()
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "the stop")
        with closing(sqlite3.connect(service.data_dir / "med3d.sqlite", timeout=0.2)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                process.resume()
                return False
            database.rollback()
        return True

    wait_until(stopped, f"a pause of the {name}")


def let_an_hour_pass(service, run_id, also_of=""):
    """Set back what the database holds of a run's lease, and of the process's beats whose absence this was."""
    with closing(service.open_database()) as database, database.write() as session:
        set_back = {"lease_expires_at": RunRow.lease_expires_at - HOUR_S}
        session.execute(update(RunRow).where(RunRow.id == run_id).values(set_back))
        session.execute(update(BeatRow).where(BeatRow.process == also_of).values(beat_at=BeatRow.beat_at - HOUR_S))


def left_behind(service):
    return [path.name for path in service.settings.spool_dir.iterdir()]


def raw_request(service, body, length=None, key=None):
    """An open connection on which a POST /studies has been begun."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=10)
    head = (
        f"POST /studies HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key or service.key}\r\n"
        f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {length or len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def everything(connection):
    """What the server says until it hangs up; with what it has not read, its end is a reset."""
    said = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            said += piece
    return said


def test_a_sender_that_hangs_up_half_way_leaves_nothing(standing):
    body = files_form(("study.zip", zip_of(named(dicom_files(40)))))
    connection = raw_request(standing, body[: len(body) // 2], len(body))
    wait_until(lambda: left_behind(standing), "the begin of the upload")
    connection.close()
    wait_until(lambda: not left_behind(standing), "the removal of the fragment")
    assert standing.client.get("/studies").json()["items"] == []
    assert not list(standing.store.list("originals"))


def test_a_file_over_the_limit_is_refused_before_it_has_been_sent(standing):
    with raw_request(standing, b"--" + BOUNDARY.encode(), length=5 * 1024**3) as connection:
        answer = everything(connection)  # a few bytes of five GiB were sent
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"upload_too_large" in answer


def test_a_stranger_is_turned_away_before_the_body_is_read(standing):
    with raw_request(standing, b"--", length=10**9, key="m3d_00000000_wrong") as connection:
        assert b" 401 " in everything(connection).split(b"\r\n")[0]


def test_a_refused_upload_leaves_nothing(standing):
    answer = standing.submit(("a.zip", zip_of({"../a": b"x"})))
    assert (answer.status_code, answer.json()["code"]) == (422, "archive_unsafe_path")
    assert answer.json()["remedy"]
    assert left_behind(standing) == []


def test_a_worker_that_falls_silent_loses_the_run_to_another(standing):
    ids = send(standing).json()
    claim(standing, ids["run_id"])
    standing.worker.heartbeat(Heartbeat(held=(ActiveAttempt(run_id=ids["run_id"], attempt=1, stage="bias field"),)))
    let_an_hour_pass(standing, ids["run_id"])
    again = claim(standing, ids["run_id"])
    assert again.attempt == 2
    with pytest.raises(Superseded):
        standing.worker.outcome(ids["run_id"], completed(1))
    assert standing.run(ids["run_id"])["attempt"] == 2


def test_a_broker_that_is_away_fails_no_sender_and_gets_the_task_when_it_is_back(service):
    service.stop("broker", signal.SIGKILL)
    taken = send(service)
    assert taken.status_code == 202
    service.working_copy(taken.json()["study_id"])
    wait_until(lambda: not service.client.get("/readyz").json()["broker"]["ok"], "the news of the broker")
    service.start("broker")
    wait_until(lambda: _tasks(service) == 1, "the task after the broker's return")


def test_a_broker_that_has_forgotten_everything_is_filled_again_from_the_database(service):
    ids = send(service).json()
    wait_until(lambda: service.tasks() == 1, "the task")
    service.stop("broker", signal.SIGKILL)
    service.start("broker")  # it kept nothing
    wait_until(lambda: _tasks(service) == 1, "the task after the broker's loss of memory")
    assert claim(service, ids["run_id"]).attempt == 1


def _tasks(service):
    try:
        return service.tasks()
    except OSError:
        return None
    except Exception as error:
        if "onnect" in type(error).__name__:
            return None
        raise


def test_a_queue_that_nobody_drains_does_not_grow(service):
    send(service)
    wait_until(lambda: service.tasks() == 1, "the task")
    until = time.monotonic() + 3  # several times MED3D_REDISPATCH_S
    while time.monotonic() < until:
        assert service.tasks() == 1
        time.sleep(0.2)


def test_a_result_whose_message_was_lost_is_adopted_from_the_store(standing):
    ids = send(standing).json()
    claimed = claim(standing, ids["run_id"])
    standing.worker.preprocessed({ids["run_id"]: preprocessed(claimed.attempt)})
    (prediction,) = standing.claim_predict(WORKER, 1)
    stored = StoredOutcomes(outcomes=(RunOutcome(run_id=ids["run_id"], outcome=completed(prediction.attempt)),))
    key = f"results/{ids['run_id']}.{prediction.attempt}.json"
    standing.store.put(key, stored.model_dump_json().encode())
    wait_until(lambda: standing.run(ids["run_id"])["status"] == "completed", "the adoption")
    wait_until(lambda: standing.store.head(key) is None, "the removal of the settled outcome")


def test_a_copying_child_that_was_killed_while_it_waited_costs_no_study(standing):
    courier = standing.running["courier"].pid
    (child,) = wait_until(lambda: len(found := children(courier)) == 1 and found, "the child that is kept ready")
    child.kill()
    study_id = send(standing).json()["study_id"]
    assert standing.working_copy(study_id)["working_copy"] == "ready"


def test_a_courier_that_is_killed_is_replaced_and_the_copy_made_once(standing):
    pause(standing, "courier")
    ids = send(standing).json()
    standing.stop("courier", signal.SIGKILL)
    standing.start("courier")
    assert standing.working_copy(ids["study_id"])["working_copy"] == "ready"
    assert claim(standing, ids["run_id"]).attempt == 1


def test_an_acknowledged_study_survives_the_death_of_every_process(service):
    ids = send(service).json()
    for name in list(service.running):
        service.stop(name, signal.SIGKILL)
    service.start("broker", "api", "courier", "scheduler")
    service.hello(WORKER)
    assert claim(service, ids["run_id"]).run_id == ids["run_id"]


def test_no_lease_ends_while_the_api_is_away(standing):
    ids = send(standing).json()
    claimed = claim(standing, ids["run_id"])
    standing.stop("api", signal.SIGKILL)
    let_an_hour_pass(standing, ids["run_id"], also_of="api")
    standing.start("api")  # and meanwhile the scheduler sweeps
    standing.worker.preprocessed({ids["run_id"]: preprocessed(claimed.attempt)})
    assert standing.run(ids["run_id"])["attempt"] == 1


def test_every_process_stops_cleanly_even_with_a_reader_of_events(service):
    ids = send(service).json()
    with service.client.stream("GET", f"/runs/{ids['run_id']}/events") as events:
        next(events.iter_lines())
        assert service.stop("api") == 0
    assert service.stop("courier") == 0
    assert service.stop("scheduler") == 0
