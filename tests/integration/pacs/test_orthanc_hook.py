"""Studies that become stable in a real Orthanc: its hook calls, its log of changes is followed, it sends by STOW-RS."""

import json
import time
import uuid

import httpx
import pytest
from pydantic import SecretStr
from pydicom.uid import generate_uid

from med3d_service.network.pulls.hooks import signature
from med3d_service.studies.own_objects import own_uid
from rig.peers.orthanc import HOOK_SCRIPT, Orthanc
from rig.processes.gateway import HOOK_SECRET, files_of, new_study
from rig.processes.waiting import wait_until

# Of a clock that is wrong: by more than the tests take between being collected and being run.
A_DAY_S = 86_400
SR = "1.2.840.10008.5.1.4.1.1.88.34"


def pulled(service, run_id):
    """The one pull that brought a run, once it is done."""
    (pull,) = wait_until(lambda: pulls_of(service, run_id), "the pull")
    return service.wait_for_pull(pull["pull_id"])


def pulls_of(service, run_id):
    return [pull for pull in service.pulls() if any(one["run_id"] == run_id for one in pull["studies"])]


def test_the_hook_of_a_stable_study_brings_its_run(beside_ward, ward):
    study = new_study(5)
    ward.add(*files_of(study))
    run_id = beside_ward.run_of(study[0].StudyInstanceUID)
    pull = pulled(beside_ward, run_id)
    assert (pull["origin"], pull["studies"][0]["instances"]) == ("hook", 5)


def test_the_log_of_changes_tells_of_the_same_and_it_is_pulled_once(beside_ward, ward):
    study = new_study(2)
    ward.add(*files_of(study))
    pulled(beside_ward, beside_ward.run_of(study[0].StudyInstanceUID))
    wait_until(lambda: beside_ward.followed("ward") >= ward.last_change(), "a look at the end of the log")
    pulled(beside_ward, beside_ward.run_of(study[0].StudyInstanceUID))  # still the one


def test_our_own_report_that_comes_back_to_the_peer_opens_no_run(beside_ward, ward):
    study = new_study(3)
    ward.add(*files_of(study))
    run_id = beside_ward.run_of(study[0].StudyInstanceUID)
    pulled(beside_ward, run_id)
    (report,) = new_study(1, StudyInstanceUID=study[0].StudyInstanceUID, Modality="SR")
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = SR
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = own_uid("sr", run_id)
    ward.add(*files_of([report]))
    wait_until(lambda: len(pulls_of(beside_ward, run_id)) == 2, "the hook of the study with its report")
    wait_until(lambda: all(one["status"] == "done" for one in pulls_of(beside_ward, run_id)), "the end of the pulls")
    shown = beside_ward.study(beside_ward.run(run_id)["study_id"])
    assert [run["run_id"] for run in shown["runs"]] == [run_id]
    assert beside_ward.run_of(study[0].StudyInstanceUID) == run_id
    said = beside_ward.said("fetcher")
    again = pulls_of(beside_ward, run_id)[0]["pull_id"]
    known = [line["instances"] for line in said if line["event"] == "series_known" and line["pull_id"] == again]
    assert known == [3]  # the images were not fetched a second time


def test_a_hook_that_nobody_heard_is_made_up_for_by_the_log_of_changes(beside_ward, ward):
    study = new_study(4)
    beside_ward.stop("api")
    try:
        ward.add(*files_of(study))
        wait_until(lambda: ward.is_stable(study[0].StudyInstanceUID), "the stable study")
        run_id = beside_ward.run_of(study[0].StudyInstanceUID)
    finally:
        beside_ward.start("api")
    assert pulled(beside_ward, run_id)["origin"] == "changes"


@pytest.mark.long
def test_what_became_stable_while_the_fetcher_was_away_is_found_when_it_is_back(beside_ward, ward):
    study = new_study(4)
    beside_ward.stop("fetcher")
    beside_ward.stop("api")
    ward.add(*files_of(study))
    wait_until(lambda: ward.is_stable(study[0].StudyInstanceUID), "the stable study")
    beside_ward.start("api", "fetcher")
    assert pulled(beside_ward, beside_ward.run_of(study[0].StudyInstanceUID))["origin"] == "changes"


def test_the_peer_sends_by_stow_rs_as_well(beside_ward, ward):
    server = {
        "Url": f"{beside_ward.url}/dicomweb",
        "HttpHeaders": {"Authorization": f"Bearer {beside_ward.key}"},
    }
    ward.rest.put("/dicom-web/servers/med3d", json=server).raise_for_status()
    study = new_study(6)
    ward.add(*files_of(study))
    sent = {"Resources": ward.instances(study[0].StudyInstanceUID), "Synchronous": True}
    answer = ward.rest.post("/dicom-web/servers/med3d/stow", json=sent)
    assert answer.status_code == 200, answer.text
    assert beside_ward.arrival(study[0].StudyInstanceUID).instances == 6
    # Its hook comes once it is stable; later tests count pulls and must not count this one.
    pulled(beside_ward, beside_ward.run_of(study[0].StudyInstanceUID))


# --- calls that are not the hook's ---


def call_of(**changed):
    call = {
        "study_uid": generate_uid(),
        "last_update": "20260101T000000",
        "timestamp": time.time(),
        "nonce": uuid.uuid4().hex,
    }
    return json.dumps(call | changed).encode()


def post(service, body, *, secret=HOOK_SECRET, peer="ward", **headers):
    signed = {"X-Med3d-Peer": peer, "X-Med3d-Signature": signature(SecretStr(secret), body)}
    return httpx.post(f"{service.url}/hooks/orthanc", content=body, headers=signed | headers)


def test_a_call_is_heeded_once_and_never_again(beside_ward):
    body = call_of()
    first, again = post(beside_ward, body), post(beside_ward, body)
    assert (first.status_code, again.status_code, again.json()["code"]) == (202, 409, "hook_replayed")
    twin = json.loads(body) | {"nonce": uuid.uuid4().hex}
    known = post(beside_ward, json.dumps(twin).encode())
    assert (known.status_code, known.json()) == (200, first.json())


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"secret": "another-secret-another-secret-another"}, 401, "hook_not_signed"),
        ({"peer": "archive"}, 401, "hook_not_signed"),
        ({"X-Med3d-Signature": ""}, 401, "hook_not_signed"),
        ({"X-Med3d-Signature": "é"}, 401, "hook_not_signed"),
        ({"changed": {"timestamp": time.time() - A_DAY_S}}, 401, "hook_stale"),
        ({"changed": {"timestamp": time.time() + A_DAY_S}}, 401, "hook_stale"),
        ({"changed": {"study_uid": "../../etc"}}, 422, "invalid_request"),
        ({"changed": {"nonce": "short"}}, 422, "invalid_request"),
        ({"changed": {"padding": "x" * 10_000}}, 413, "upload_too_large"),
    ],
)
def test_a_call_that_is_not_the_hooks_opens_nothing(beside_ward, arguments, status, code):
    arguments = dict(arguments)
    headers = {name: arguments.pop(name).encode() for name in list(arguments) if name.startswith("X-")}
    call = call_of(**arguments.pop("changed", {}))
    answer = post(beside_ward, call, **arguments, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert beside_ward.pulls_of_study(json.loads(call)["study_uid"]) == 0


def test_an_orthanc_that_has_another_secret_opens_nothing(beside_ward, tmp_path):
    hook = {"Url": f"{beside_ward.url}/hooks/orthanc", "Peer": "ward", "Secret": HOOK_SECRET[::-1]}
    impostor = Orthanc(tmp_path / "impostor", lua=[HOOK_SCRIPT], Med3d=hook).start()
    try:
        study = new_study(2)
        impostor.add(*files_of(study))
        refused = lambda: [line for line in beside_ward.said("api") if line["event"] == "hook_refused"]  # noqa: E731
        wait_until(lambda: "hook_not_signed" in {line["code"] for line in refused()}, "the refusal")
    finally:
        impostor.close()
    assert beside_ward.arrival(study[0].StudyInstanceUID) is None


def test_a_body_changed_on_the_way_is_not_the_hooks(beside_ward):
    body = call_of()
    headers = {"X-Med3d-Signature": signature(SecretStr(HOOK_SECRET), body)}
    answer = post(beside_ward, body.replace(b"20260101", b"20260102"), **headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "hook_not_signed")
