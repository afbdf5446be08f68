"""Answers go out to real receivers: dcmtk's storescp, Orthanc, peers that fail, a webhook."""

import hashlib
import hmac
import io
import json
import signal
import subprocess
import time

import pytest
from pydicom import dcmread

from factories.answers import PATIENT, WORKER, answered, claimed, refused_run, simulated_sdmt
from factories.orthanc import PASSWORD, USER, Orthanc
from factories.processes import wait_until
from factories.receivers import MoodyPeer, Storescp, WebhookListener
from factories.service import refused
from factories.service_processes import Processes, free_port
from factories.uploads import dicom_files, nifti_file
from med3d_service.own_objects import is_own, own_uid
from med3d_service.peers import ConfigurationError

SECRET = "a-secret-of-a-test-that-is-long-enough"
QUICK = {
    "MED3D_LEASE_S": "5",
    "MED3D_REDISPATCH_S": "1",
    "MED3D_SWEEP_S": "0.1",
    "MED3D_DELIVERY_FIRST_S": "0.1",
    "MED3D_DELIVERY_LONGEST_S": "0.5",
    "MED3D_DELIVERY_LEASE_S": "2",
    "MED3D_DELIVERER_POLL_S": "0.05",
}


@pytest.fixture
def started(tmp_path):
    """Starts broker, API, courier and deliverer with the given peers and deliveries (TOML)."""
    made = []

    def start(peers="", deliveries="", **environment):
        (tmp_path / "peers.toml").write_text(peers)
        (tmp_path / "deliveries.toml").write_text(deliveries)
        (tmp_path / "secret").write_text(SECRET)
        (tmp_path / "password").write_text(PASSWORD)
        files = {
            "MED3D_PEERS_FILE": str(tmp_path / "peers.toml"),
            "MED3D_DELIVERIES_FILE": str(tmp_path / "deliveries.toml"),
        }
        processes = Processes(tmp_path / "data", **QUICK | files | environment)
        made.append(processes)
        processes.start("broker", "api", "courier", "deliverer")
        processes.hello(WORKER)
        return processes

    yield start
    for processes in made:
        processes.close()


@pytest.fixture
def receiver(tmp_path):
    (tmp_path / "received").mkdir()
    made = Storescp(tmp_path / "received")
    yield made
    made.stop()


@pytest.fixture
def moody():
    made = []

    def make(*statuses):
        made.append(MoodyPeer(*statuses))
        return made[-1]

    yield make
    for peer in made:
        peer.stop()


def deliveries(processes, **query):
    return processes.client.get("/deliveries", params=query).raise_for_status().json()["items"]


def settled(processes, status="delivered", **query):
    """Wait until all deliveries have this status."""
    return wait_until(
        lambda: (found := deliveries(processes, **query)) and {one["status"] for one in found} == {status} and found,
        f"that all are {status}; they are {deliveries(processes, **query)}",
    )


def outbox_is_empty(processes):
    database = processes.database()
    try:
        with database.read() as session:
            return session.connection().exec_driver_sql("SELECT count(*) FROM outbox").scalar_one() == 0
    finally:
        database.close()


def to(peer, kinds='["sr"]'):
    return f"[dimse.pacs]\n{peer.table}", f'[[deliver]]\npeer = "pacs"\nkinds = {kinds}\n'


def test_storescp_orthanc_and_a_webhook_get_the_answer_with_the_patients_identifiers(started, receiver, tmp_path):
    receiver.start()
    orthanc, listener = Orthanc(tmp_path / "orthanc").start(), WebhookListener()
    try:
        processes = started(
            f"[dimse.pacs]\n{receiver.table}\n[dicomweb.archive]\n"
            f'url = "{orthanc.dicomweb_url}"\nuser = "{USER}"\npassword = {{file = "password"}}\n',
            '[[deliver]]\npeer = "pacs"\nkinds = ["sr", "pdf", "sc"]\n'
            '[[deliver]]\npeer = "archive"\nkinds = ["sr"]\n'
            f'[webhooks.his]\nurl = "{listener.url}"\nsecret = {{file = "secret"}}\n',
        )
        images = [dcmread_of(data) for data in dicom_files(**PATIENT)]
        ids = answered(processes, sdmt=simulated_sdmt())
        sent = settled(processes)
        assert {(one["kind"], one["destination"]) for one in sent} == {
            ("sr", "dimse:pacs"), ("pdf", "dimse:pacs"), ("sc", "dimse:pacs"),
            ("sr", "dicomweb:archive"), ("event", "webhook:his"),
        }  # fmt: skip

        received = receiver.received()
        assert set(received) == {
            "Comprehensive 3D SR Storage", "Encapsulated PDF Storage", "Secondary Capture Image Storage",
        }  # fmt: skip
        for dataset in received.values():
            for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber",
                            "StudyDate", "StudyID", "StudyInstanceUID", "ReferringPhysicianName"):  # fmt: skip
                assert str(dataset[keyword].value) == PATIENT[keyword], keyword
            assert is_own(dataset.SOPInstanceUID)
            assert is_own(dataset.SeriesInstanceUID)
            validated(receiver.file_of(dataset.SOPInstanceUID))
        report = received["Comprehensive 3D SR Storage"]
        evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
        assert {item.ReferencedSOPInstanceUID for item in evidence.ReferencedSOPSequence} == {
            image.SOPInstanceUID for image in images
        }
        assert evidence.SeriesInstanceUID == images[0].SeriesInstanceUID
        shown = subprocess.run(
            ["/usr/bin/dsrdump", receiver.file_of(report.SOPInstanceUID)], capture_output=True, text=True, check=True
        ).stdout
        assert '"Brain age")="52.0" (a,UCUM,"year")' in shown
        assert "47.1" not in shown
        assert "SDMT" not in shown

        (stored,) = orthanc.instances(PATIENT["StudyInstanceUID"])
        tags = orthanc.rest.get(f"/instances/{stored}/simplified-tags").json()
        assert tags["SOPInstanceUID"] == report.SOPInstanceUID

        ((headers, body),) = listener.calls
        at, _, mark = headers["Med3d-Signature"].removeprefix("t=").partition(",v1=")
        assert hmac.compare_digest(
            mark, hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        )
        assert abs(time.time() - int(at)) < 60
        event = json.loads(body)
        assert (event["run_id"], event["type"]) == (ids["run_id"], "run.completed")
        assert event["brain_age"]["estimate"] == 52.0
        assert event["sdmt"] is None
        assert headers["Med3d-Event-Id"] == event["event_id"]
        assert all(value not in body.decode() for value in PATIENT.values() if len(value) > 1)

        for one in sent:  # once more: the receivers have no more than before
            assert processes.client.post(f"/deliveries/{one['delivery_id']}/retry").status_code == 202
        again = settled(processes)
        assert {one["object_uid"] for one in again} == {one["object_uid"] for one in sent}
        assert all(one["tries"] == 2 for one in again)
        assert len(orthanc.instances(PATIENT["StudyInstanceUID"])) == 1
        assert len(list(receiver.folder.iterdir())) == 3
        assert [one["event_id"] for one in listener.events()] == [event["event_id"]] * 2
    finally:
        orthanc.close()
        listener.stop()


def dcmread_of(data):
    return dcmread(io.BytesIO(data))


def validated(path):
    """Fails on what dciodvfy calls an error."""
    said = subprocess.run(["/usr/bin/dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    assert "Error" not in said.stderr + said.stdout, said.stderr


def test_nothing_goes_out_where_nothing_is_configured(started, receiver):
    receiver.start()
    processes = started(f"[dimse.pacs]\n{receiver.table}")
    answered(processes)
    wait_until(lambda: outbox_is_empty(processes), "that the answer was looked at")
    assert deliveries(processes) == []
    assert receiver.received() == {}


def test_a_refused_run_sends_a_report_without_a_number(started, receiver):
    receiver.start()
    processes = started(*to(receiver))
    refused_run(processes)
    settled(processes)
    report = receiver.received()["Comprehensive 3D SR Storage"]
    validated(receiver.file_of(report.SOPInstanceUID))
    shown = subprocess.run(
        ["/usr/bin/dsrdump", receiver.file_of(report.SOPInstanceUID)], capture_output=True, text=True, check=True
    ).stdout
    assert "Refused: no estimate" in shown
    assert "NUM:" not in shown


def test_what_waits_for_a_peer_that_is_down_goes_when_it_is_back(started, receiver):
    processes = started(*to(receiver, '["sr", "pdf"]'))
    answered(processes)
    wait_until(
        lambda: all(one["tries"] > 1 and one["fault"] for one in deliveries(processes)) and deliveries(processes),
        "tries that failed",
    )
    assert {one["fault"] for one in deliveries(processes)} == {"peer_away:no_association"}
    assert receiver.received() == {}
    receiver.start()
    settled(processes)
    assert set(receiver.received()) == {"Comprehensive 3D SR Storage", "Encapsulated PDF Storage"}


def test_a_peer_that_accepts_and_then_fails_is_tried_until_it_stores(started, moody):
    peer = moody(0xA700, 0x0110, 0xA700)
    processes = started(*to(peer))
    ids = answered(processes)
    (sent,) = settled(processes)
    assert sent["tries"] == 4
    assert peer.got == [own_uid(ids["run_id"], "sr")] * 4


def test_what_a_peer_will_never_take_is_dead_until_a_person_retries(started, moody):
    peer = moody(0xA900)
    processes = started(*to(peer))
    answered(processes)
    (one,) = settled(processes, "dead")
    assert one["fault"] == "refused:0xA900"
    assert deliveries(processes, status="dead") == [one]
    processes.client.post(f"/deliveries/{one['delivery_id']}/retry").raise_for_status()
    settled(processes)
    assert len(set(peer.got)) == 1


def test_a_delivery_that_fails_for_too_long_is_dead(started, receiver):
    processes = started(*to(receiver), MED3D_DELIVERY_GIVE_UP_S="1")
    answered(processes)
    (one,) = settled(processes, "dead")
    assert one["fault"] == "peer_away:no_association"


def test_a_deliverer_killed_in_the_middle_delivers_after_its_restart(started, moody):
    peer = moody()
    peer.hold.clear()
    processes = started(*to(peer))
    ids = answered(processes)
    wait_until(lambda: peer.got, "that the object is on its way")
    assert [one["status"] for one in deliveries(processes)] == ["sending"]
    processes.stop("deliverer", signal.SIGKILL)
    peer.hold.set()
    processes.start("deliverer")
    settled(processes)
    assert set(peer.got) == {own_uid(ids["run_id"], "sr")}


def test_an_answer_stored_while_no_deliverer_runs_is_not_forgotten(started, moody):
    peer = moody()
    processes = started(*to(peer))
    processes.stop("deliverer", signal.SIGKILL)
    answered(processes)
    assert deliveries(processes) == []
    processes.start("deliverer")
    settled(processes)
    assert len(peer.got) == 1


def test_a_peer_that_hangs_does_not_keep_the_others_waiting(started, moody):
    listener, peer = WebhookListener(), moody()
    peer.hold.clear()
    try:
        peers, wanted = to(peer)
        processes = started(peers, f'{wanted}[webhooks.his]\nurl = "{listener.url}"\nsecret = {{file = "secret"}}\n')
        answered(processes)
        wait_until(lambda: peer.got and listener.calls, "the call, while the peer hangs")
        peer.hold.set()
        settled(processes)
    finally:
        listener.stop()


def test_a_webhook_is_retried_and_redirects_are_not_followed(started):
    listener = WebhookListener(500, 302, 429)
    try:
        processes = started("", f'[webhooks.his]\nurl = "{listener.url}"\nsecret = {{file = "secret"}}\n')
        answered(processes)
        (one,) = settled(processes)
        assert one["tries"] == 4
        assert len({event["event_id"] for event in listener.events()}) == 1
        listener.statuses.append(422)
        processes.client.post(f"/deliveries/{one['delivery_id']}/retry").raise_for_status()
        (one,) = settled(processes, "dead")
        assert one["fault"] == "refused:http_422"
    finally:
        listener.stop()


def test_a_cohort_run_delivers_nothing_unless_asked(started, moody):
    peer = moody()
    processes = started(*to(peer))
    ids = answered(processes, priority="cohort")
    wait_until(lambda: outbox_is_empty(processes), "that the answer was looked at")
    assert deliveries(processes) == []
    asked = processes.client.post(f"/runs/{ids['run_id']}/deliveries")
    assert (asked.status_code, asked.json()) == (202, {"planned": 1})
    settled(processes)
    assert processes.client.post(f"/runs/{ids['run_id']}/deliveries").json() == {"planned": 0}


def test_a_destination_may_ask_for_cohort_runs(started, moody):
    peer = moody()
    peers, wanted = to(peer)
    processes = started(peers, f"{wanted}cohort = true\n")
    answered(processes, priority="cohort")
    settled(processes)


def test_images_that_were_no_dicom_send_events_and_no_objects(started, moody):
    listener, peer = WebhookListener(), moody()
    try:
        peers, wanted = to(peer)
        processes = started(peers, f'{wanted}[webhooks.his]\nurl = "{listener.url}"\nsecret = {{file = "secret"}}\n')
        ids = processes.submit(("head.nii", nifti_file())).json()
        processes.working_copy(ids["study_id"])
        attempt = wait_until(lambda: claimed(processes, ids["run_id"]), "the claim").attempt
        processes.worker.outcome(ids["run_id"], refused(attempt))
        (one,) = settled(processes)
        assert one["kind"] == "event"
        clinical = {"Authorization": f"Bearer {processes.clinical_key}"}
        answer = processes.client.get(f"/runs/{ids['run_id']}/sr", headers=clinical)
        assert (answer.status_code, answer.json()["code"]) == (409, "no_dicom_study")
        assert processes.client.get(f"/runs/{ids['run_id']}/report.pdf", headers=clinical).status_code == 200
    finally:
        listener.stop()


def test_what_is_asked_for_by_hand_is_the_same_as_what_was_sent(started, receiver):
    receiver.start()
    processes = started(*to(receiver))
    ids = answered(processes)
    settled(processes)
    clinical = {"Authorization": f"Bearer {processes.clinical_key}"}
    for path in ("sr", "fhir", "report.pdf"):
        turned_away = processes.client.get(f"/runs/{ids['run_id']}/{path}")
        assert (turned_away.status_code, turned_away.json()["code"]) == (403, "wrong_scope"), path
    report = processes.client.get(f"/runs/{ids['run_id']}/sr", headers=clinical)
    assert report.headers["Content-Type"] == "application/dicom"
    assert report.headers["Cache-Control"] == "private, no-store"
    sent = receiver.received()["Comprehensive 3D SR Storage"]
    assert dcmread_of(report.content).to_json_dict() == sent.to_json_dict()
    page = processes.client.get(f"/runs/{ids['run_id']}/report.pdf", headers=clinical).content
    assert page.startswith(b"%PDF-")
    resources = processes.client.get(f"/runs/{ids['run_id']}/fhir", headers=clinical).json()
    assert resources["entry"][0]["resource"]["subject"]["identifier"]["value"] == PATIENT["PatientID"]
    unknown = processes.client.get("/runs/nobody/sr", headers=clinical)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_run")


def test_no_identifier_is_readable_in_anything_that_a_delivery_leaves(started, receiver):
    receiver.start()
    marks = {"PatientName": "CANARYBIRD^Jane", "PatientID": "CANARYBIRD", "AccessionNumber": "CANARYACC"}
    processes = started(*to(receiver, '["sr", "pdf", "sc"]'))
    ids = answered(processes, header=marks)
    settled(processes)
    clinical = {"Authorization": f"Bearer {processes.clinical_key}"}
    assert b"CANARYBIRD" in processes.client.get(f"/runs/{ids['run_id']}/sr", headers=clinical).content
    listed = processes.client.get("/deliveries").text + processes.client.get("/metrics").text
    for name in ("api", "courier", "deliverer", "broker"):
        processes.stop(name)
    written = {path: path.read_bytes() for path in processes.data_dir.rglob("*") if path.is_file()}
    assert len([path for path in written if "reports" in path.parts]) == 3
    for mark in ("CANARYBIRD", "CANARYACC", "8675309", "19701112"):
        assert mark not in listed
        for path, data in written.items():
            assert mark.encode() not in data, path.name


def test_a_deliveries_file_with_a_mistake_is_told_at_start(started):
    port = free_port()
    with pytest.raises(ConfigurationError, match="the peer pacs is in no table"):
        started("", '[[deliver]]\npeer = "pacs"\nkinds = ["sr"]\n')
    with pytest.raises(ConfigurationError, match="kinds"):
        started(
            f'[dimse.pacs]\nhost="127.0.0.1"\nport={port}\nae_title="X"\n',
            '[[deliver]]\npeer = "pacs"\nkinds = ["xx"]\n',
        )
    with pytest.raises(ConfigurationError, match="32 characters"):
        started("", '[webhooks.his]\nurl = "http://127.0.0.1:1/x"\nsecret = {env = "HOME"}\n')
