"""A study from POST to its result, with a worker played by the test through the worker's routes."""

import io
import json
import re
import tarfile
import uuid

import httpx
import pytest
from sqlalchemy import update

from med3d_client.worker import ApiError, Superseded
from med3d_contract.results import BundleRef
from med3d_contract.work import ActiveAttempt, Heartbeat
from med3d_service.custody.ledger import Ledger
from med3d_service.storage.tables import RunRow
from rig.dicom.uploads import dicom_files, named, tar_of, zip_of
from rig.processes.waiting import wait_until
from rig.service.parts import completed, failed, preprocessed, refused, worker
from rig.service.work import BUNDLE

WORKER = worker()


@pytest.fixture
def service(shared_processes):
    shared_processes.hello(WORKER)
    return shared_processes


def new_files(slices=4, **header):
    """A study that no other test has sent."""
    return dicom_files(slices, series=uuid.uuid4().hex, **header)


def claim(service, run_id):
    return wait_until(lambda: _claimed(service, run_id), "the claim")


def _claimed(service, run_id):
    try:
        return service.worker.claim_preprocess(run_id, WORKER).claims[0]
    except Superseded:
        return None


def send(service, files=None, **fields):
    return service.submit(("study.zip", zip_of(named(files or new_files()))), **fields)


def test_a_study_is_taken_copied_claimed_and_answered(service):
    files = new_files(PatientBirthDate="19700101", StudyDate="20200101", PatientSex="F")
    taken = send(service, files)
    assert taken.status_code == 202
    ids = taken.json()
    assert taken.headers["location"] == ids["links"]["run"] == f"/runs/{ids['run_id']}"
    assert service.client.get(ids["links"]["study"]).status_code == 200

    claimed = claim(service, ids["run_id"])
    assert (claimed.attempt, claimed.bundle, claimed.chosen_series) == (1, BUNDLE, None)
    assert (claimed.subject.age.years, claimed.subject.age.source) == (pytest.approx(50, abs=0.01), "birth_date")
    assert claimed.subject.sex == "F"
    copy = service.store.get(claimed.working_copy_key, claimed.working_copy_sha256)
    with tarfile.open(fileobj=io.BytesIO(copy)) as archive:
        assert archive.getnames() == [f"{number:05d}.dcm" for number in range(1, len(files) + 1)]

    service.worker.heartbeat(Heartbeat(held=(ActiveAttempt(run_id=claimed.run_id, attempt=1, stage="bias field"),)))
    assert service.run(ids["run_id"])["stage"] == "bias field"
    service.worker.preprocessed({claimed.run_id: preprocessed(1)})
    (prediction,) = service.claim_predict(WORKER, 1)
    assert prediction.preprocessed == preprocessed(1)
    service.worker.outcome(claimed.run_id, completed(prediction.attempt))

    run = service.run(ids["run_id"])
    assert (run["status"], run["attempt"], run["stage"]) == ("completed", 1, None)
    assert run["result"]["brain_age"]["estimate"] == 52.0
    assert run["series"]["chosen"] == "series 1"
    assert run["finished_at"] >= run["started_at"] >= run["created_at"]


def test_the_task_is_sent_once_the_working_copy_is_there(service):
    ids = send(service).json()
    service.working_copy(ids["study_id"])
    wait_until(lambda: ids["run_id"] in service.runs_in_queue(), "the task")


def test_the_same_study_again_is_answered_with_the_same_ids(service):
    files = new_files()
    first = send(service, files, age=50)
    again = send(service, files, age=50)
    tarred = service.submit(("study.tar", tar_of(named(files[::-1]))))
    assert (first.status_code, again.status_code, tarred.status_code) == (202, 200, 200)
    assert first.json() == again.json()
    assert tarred.json()["run_id"] == first.json()["run_id"]


def test_what_is_said_of_a_known_study_is_taken_over_and_stat_raises_its_run(service):
    files = new_files()
    ids = send(service, files, age=50, priority="cohort").json()
    send(service, files, age=51.5, sex="M", subject="S-7", priority="stat")
    study = service.study(ids["study_id"])
    assert (study["age"]["years"], study["sex"], study["subject"]) == (51.5, "M", "S-7")
    assert service.run(ids["run_id"])["priority"] == "stat"
    assert claim(service, ids["run_id"]).subject.age.years == 51.5


def test_another_bundle_makes_another_run_and_the_same_one_does_not(service):
    other = BundleRef(name="other", version="2", digest="c" * 64)
    service.hello(worker("worker-2", bundles=(other,)))
    files = new_files()
    first = send(service, files)
    second = send(service, files, bundle="other@2")
    assert second.status_code == 202
    assert second.json()["study_id"] == first.json()["study_id"]
    assert second.json()["run_id"] != first.json()["run_id"]
    again = service.client.post(f"/studies/{first.json()['study_id']}/runs", json={"bundle": other.digest})
    assert (again.status_code, again.json()["run_id"]) == (200, second.json()["run_id"])
    defaults = {bundle["digest"]: bundle["default"] for bundle in service.client.get("/bundles").json()["items"]}
    assert defaults == {BUNDLE.digest: True, other.digest: False}


def test_a_series_chosen_by_hand_is_a_run_of_its_own(service):
    ids = send(service).json()
    chosen = service.client.post(f"/studies/{ids['study_id']}/runs", json={"series": "series 19"})
    assert chosen.status_code == 202
    assert claim(service, chosen.json()["run_id"]).chosen_series == "series 19"
    runs = service.study(ids["study_id"])["runs"]
    assert [run["chosen_series"] for run in runs] == [None, "series 19"]


def test_a_series_may_be_chosen_when_a_study_is_sent_and_its_uid_stays_here(service):
    files, uid = new_files(), "1.2.826.0.1.3680043.8.498.1"
    ids = send(service, files, series=uid).json()
    wanted = claim(service, ids["run_id"]).chosen_series
    assert wanted.startswith("2.25.")
    assert service.study(ids["study_id"])["runs"][0]["chosen_series"] == wanted
    again = service.client.post(f"/studies/{ids['study_id']}/runs", json={"series": uid})
    assert (again.status_code, again.json()["run_id"]) == (200, ids["run_id"])
    by_number = send(service, files, series="19").json()
    assert by_number["study_id"] == ids["study_id"]
    assert claim(service, by_number["run_id"]).chosen_series == "series 19"


def test_after_a_fault_a_study_can_be_run_again_and_the_old_run_stays(service):
    ids = send(service).json()
    claim(service, ids["run_id"])
    service.worker.outcome(ids["run_id"], failed(1, retryable=False))
    again = service.client.post(f"/studies/{ids['study_id']}/runs", json={})
    assert again.status_code == 202
    runs = service.study(ids["study_id"])["runs"]
    assert [(run["run_id"], run["superseded"]) for run in runs] == [
        (ids["run_id"], True),
        (again.json()["run_id"], False),
    ]


def test_a_failed_run_is_requeued_by_an_operator_once_and_the_new_run_says_so(service):
    run_id = send(service).json()["run_id"]
    claim(service, run_id)
    service.worker.outcome(run_id, failed(1, retryable=False))
    again = service.client.post(f"/runs/{run_id}/requeue")
    assert (again.status_code, again.json()["status"]) == (202, "queued")
    with service.client.stream("GET", f"/runs/{again.json()['run_id']}/events") as events:
        first = next(line for line in events.iter_lines() if line.startswith("data:"))
    assert json.loads(first.removeprefix("data:"))["code"] == "requeued"
    assert service.client.post(f"/runs/{run_id}/requeue").json()["code"] == "not_requeueable"
    assert claim(service, again.json()["run_id"]).attempt == 1


def test_a_run_under_way_is_not_requeued_and_an_unknown_one_is_not_found(service):
    run_id = send(service).json()["run_id"]
    assert service.client.post(f"/runs/{run_id}/requeue").json()["code"] == "not_requeueable"
    assert service.client.post(f"/runs/{uuid.uuid4()}/requeue").json()["code"] == "unknown_run"


def test_the_ledger_balances_beside_the_running_service_on_both_databases(service):
    run_id = send(service).json()["run_id"]
    claim(service, run_id)
    database = service.open_database()
    report = Ledger(service.settings, database, service.store).check(digests=True)
    assert report.runs > 0
    assert set(report.counts) <= {"tensor_missing"}, report  # the tests of this module name tensors that nobody made
    with database.write() as session:
        session.execute(update(RunRow).where(RunRow.id == run_id).values(lease_expires_at=None))
    assert "lease_not_ended" in Ledger(service.settings, database, service.store).check().counts
    database.close()


def test_a_study_without_images_is_refused_with_its_reason(service):
    ids = service.submit(("notes.zip", zip_of({"a.txt": b"a"}))).json()
    run = service.run(ids["run_id"])
    assert (run["status"], run["refusal"]["code"]) == ("refused", "no_images")


def test_files_that_only_look_like_dicom_are_refused_as_unreadable(service):
    ids = service.submit(("a.dcm", bytes(128) + b"DICM" + b"\xff" * 500)).json()
    assert service.working_copy(ids["study_id"])["working_copy"] == "refused"
    assert service.run(ids["run_id"])["refusal"]["code"] in {"unreadable_file", "no_images"}


def test_two_patients_in_one_upload_are_refused(service):
    files = new_files(2, PatientID="1") + new_files(2, PatientID="2")
    ids = send(service, files).json()
    service.working_copy(ids["study_id"])
    assert service.run(ids["run_id"])["refusal"]["code"] == "several_patients"


def events_of(service, run_id, last_seen=None):
    headers = {} if last_seen is None else {"Last-Event-ID": str(last_seen)}
    with service.client.stream("GET", f"/runs/{run_id}/events", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line.startswith(("id:", "data:"))]
    ids = [int(line[3:]) for line in lines if line.startswith("id:")]
    return list(zip(ids, (json.loads(line[5:]) for line in lines if line.startswith("data:")), strict=True))


def test_events_tell_the_whole_story_end_with_the_run_and_go_on_where_a_reader_stopped(service):
    ids = send(service).json()
    claim(service, ids["run_id"])
    service.worker.heartbeat(
        Heartbeat(held=(ActiveAttempt(run_id=ids["run_id"], attempt=1, stage="brain extraction"),))
    )
    service.worker.outcome(ids["run_id"], refused(1))
    events = events_of(service, ids["run_id"])
    assert [event["status"] for _, event in events] == ["queued", "preprocessing", "preprocessing", "refused"]
    assert events[2][1]["stage"] == "brain extraction"
    assert events[3][1]["code"] == "not_a_head"
    assert events_of(service, ids["run_id"], last_seen=events[1][0]) == events[2:]


def test_lists_are_paged_stably_and_filtered(service):
    expected = [send(service).json()["run_id"] for _ in range(5)][::-1]
    first = service.client.get("/runs", params={"limit": 2}).json()
    later = send(service).json()["run_id"]
    seen, cursor = [run["run_id"] for run in first["items"]], first["next_cursor"]
    while cursor:
        page = service.client.get("/runs", params={"limit": 2, "cursor": cursor}).json()
        seen += [run["run_id"] for run in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen))
    assert seen[:5] == expected
    queued = service.client.get("/runs", params={"status": "queued", "limit": 200}).json()["items"]
    assert {run["status"] for run in queued} == {"queued"}
    assert {later, *expected} <= {run["run_id"] for run in queued}
    assert len(service.client.get("/studies", params={"limit": 3}).json()["items"]) == 3


def test_keys_open_their_own_routes_only(service):
    anonymous = httpx.Client(base_url=service.url)
    for path in ("/studies", "/runs", "/bundles", "/metrics", "/openapi.json", "/runs/x/events"):
        answer = anonymous.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "missing_key"), path
    wrong = anonymous.get("/runs", headers={"Authorization": "Bearer m3d_00000000_x"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid_key")
    as_worker = anonymous.get("/runs", headers={"Authorization": f"Bearer {service.worker_key}"})
    assert (as_worker.status_code, as_worker.json()["code"]) == (403, "wrong_scope")
    as_client = service.client.post("/worker/claims/predict", json={})
    assert (as_client.status_code, as_client.json()["code"]) == (403, "wrong_scope")
    assert anonymous.get("/healthz").status_code == 200
    assert anonymous.get("/readyz").json()["ready"] is True
    anonymous.close()


def test_a_worker_of_another_contract_is_refused_by_name(service):
    newer = WORKER.model_copy(update={"contract_version": 99})
    with pytest.raises(ApiError) as caught:
        service.hello(newer)
    assert caught.value.code == "contract_version_mismatch"
    assert "99" in caught.value.detail


def test_metrics_count_requests_by_route_and_runs_by_status(service):
    ids = send(service).json()
    service.run(ids["run_id"])
    shown = service.client.get("/metrics").text
    counted = r'med3d_http_requests_total\{method="GET",route="/runs/\{run_id\}",status="200"\} [1-9]'
    assert re.search(counted, shown)
    assert re.search(r'med3d_runs\{priority="routine",status="queued"\} [1-9]', shown)
    assert re.search(r"med3d_workers_alive [1-9]", shown)
    assert ids["run_id"] not in shown
