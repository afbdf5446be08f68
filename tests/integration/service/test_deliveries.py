"""Answers go out to real receivers: dcmtk's storescp, Orthanc, a peer that fails as it is told, webhooks.

One service and its receivers serve all tests of this module; each test looks at its own run.
"""

import hashlib
import hmac
import io
import json
import signal
import subprocess
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
from pydicom import dcmread
from sqlalchemy import func, select, update

from med3d_service.results.delivery.outbox import has_answers
from med3d_service.storage.tables import DeliveryRow
from med3d_service.studies.own_objects import is_own, own_uid
from rig.dicom.uploads import dicom_files, nifti_file
from rig.peers.orthanc import PASSWORD, USER, Orthanc
from rig.peers.receivers import MoodyPeer, Storescp, WebhookListener
from rig.peers.ris import FhirStore, Ris, observed
from rig.processes.service import Processes, contents_of
from rig.processes.waiting import wait_until
from rig.service.answers import PATIENT, WORKER, answered, claimed, refused_run, simulated_sdmt
from rig.service.parts import refused

SECRET = "a-secret-of-a-test-that-is-long-enough"
CANARY = "CANARYBIRD"
QUICK = {
    "MED3D_LEASE_S": "60",
    "MED3D_REDISPATCH_S": "1",
    "MED3D_DELIVERY_FIRST_S": "0.1",
    "MED3D_DELIVERY_LONGEST_S": "0.5",
    "MED3D_DELIVERY_LEASE_S": "60",
    "MED3D_DELIVERER_POLL_S": "0.05",
}
DELIVERIES = """
[[deliver]]
peer = "pacs"
kinds = ["sr", "pdf", "sc"]
decisions = ["accepted", "review", "refused"]
[[deliver]]
peer = "archive"
kinds = ["sr"]
[[deliver]]
peer = "moody"
kinds = ["sr"]
[webhooks.his]
url = "{his}"
secret = {{file = "secret"}}
[webhooks.research]
url = "{research}"
secret = {{file = "secret"}}
cohort = true
[hl7.ris]
pdf = true
{ris}
[fhir.server]
url = "{fhir}"
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The service, and everyone whom it sends to."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "received").mkdir()
    (folder / "secret").write_text(SECRET)
    (folder / "password").write_text(PASSWORD)
    receiver, orthanc = Storescp(folder / "received").start(), Orthanc(folder / "orthanc").start()
    moody, his, research = MoodyPeer(), WebhookListener(), WebhookListener()
    ris, fhir = Ris(), FhirStore()
    (folder / "peers.toml").write_text(
        f"[dimse.pacs]\n{receiver.table}\n[dimse.moody]\n{moody.table}\n[dicomweb.archive]\n"
        f'url = "{orthanc.dicomweb_url}"\nuser = "{USER}"\npassword = {{file = "password"}}\n'
    )
    (folder / "deliveries.toml").write_text(
        DELIVERIES.format(his=his.url, research=research.url, ris=ris.table, fhir=fhir.url)
    )
    files = {
        "MED3D_PEERS_FILE": str(folder / "peers.toml"),
        "MED3D_DELIVERIES_FILE": str(folder / "deliveries.toml"),
    }
    processes = Processes(folder / "data", **QUICK | files)
    processes.start("broker", "api", "courier", "deliverer")
    processes.hello(WORKER)
    yield SimpleNamespace(
        processes=processes,
        receiver=receiver,
        orthanc=orthanc,
        moody=moody,
        his=his,
        research=research,
        ris=ris,
        fhir=fhir,
    )
    processes.close()
    moody.stop()
    his.stop()
    research.stop()
    ris.stop()
    fhir.stop()
    receiver.stop()
    orthanc.close()


@pytest.fixture(autouse=True)
def _nothing_under_way(world):
    """What a test tells a receiver to answer is not for what an earlier test still has under way."""

    def over():
        unsettled = select(func.count()).select_from(DeliveryRow).where(DeliveryRow.status.in_(("waiting", "sending")))
        with closing(world.processes.open_database()) as database, database.read() as session:
            return not has_answers(session) and not session.scalar(unsettled)

    wait_until(over, "the end of all deliveries")


@pytest.fixture
def study(request):
    """Another study for each test: its UID, and a header that names it."""
    uid = f"1.2.840.8675309.{int.from_bytes(hashlib.sha256(request.node.name.encode()).digest()[:6], 'big')}"
    return {"StudyInstanceUID": uid, "StudyDescription": request.node.name[:60]}


def files_of(header):
    """Slices that no other test has."""
    series = header["StudyInstanceUID"]
    return dicom_files(series=series, **PATIENT | header)


def deliveries(world, run_id, destination=None):
    found = world.processes.client.get("/deliveries", params={"run_id": run_id}).raise_for_status().json()["items"]
    return [one for one in found if destination in {None, one["destination"]}]


def settled(world, run_id, destination=None, status="delivered"):
    """Wait until the run's deliveries (to ``destination``) have this status."""

    def look():
        found = deliveries(world, run_id, destination)
        return found if found and {one["status"] for one in found} == {status} else None

    return wait_until(look, f"that all are {status}; they are {deliveries(world, run_id, destination)}")


def retry(world, delivery):
    answer = world.processes.client.post(f"/deliveries/{delivery['delivery_id']}/retry")
    assert answer.status_code == 202


def objects(world, header):
    """What storescp has of a study, by SOP class."""
    return {
        dataset.SOPClassUID.name: dataset
        for dataset in world.receiver.received()
        if dataset.StudyInstanceUID == header["StudyInstanceUID"]
    }


def read(data):
    return dcmread(io.BytesIO(data))


def shown(world, dataset):
    """What dcmtk reads in an SR."""
    command = ["/usr/bin/dsrdump", world.receiver.file_of(dataset.SOPInstanceUID)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check_valid(path):
    """Fails on what dciodvfy calls an error."""
    said = subprocess.run(["/usr/bin/dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    assert "Error" not in said.stderr + said.stdout, said.stderr


SR, PDF, SC = "Comprehensive 3D SR Storage", "Encapsulated PDF Storage", "Secondary Capture Image Storage"


def test_a_peer_gets_valid_objects_with_the_patients_identifiers_and_the_very_instances(world, study):
    files = files_of(study)
    ids = answered(world.processes, files=files, sdmt=simulated_sdmt())
    settled(world, ids["run_id"], "dimse:pacs")
    received = objects(world, study)
    assert set(received) == {SR, PDF, SC}
    for dataset in received.values():
        for keyword, value in (PATIENT | study).items():
            if keyword not in {"SpecificCharacterSet", "StudyTime", "StudyDescription"}:
                assert str(dataset[keyword].value) == value, keyword
        assert is_own(dataset.SOPInstanceUID)
        assert is_own(dataset.SeriesInstanceUID)
        check_valid(world.receiver.file_of(dataset.SOPInstanceUID))
    images = [read(data) for data in files]
    (series,) = received[SR].CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence} == {
        image.SOPInstanceUID for image in images
    }
    text = shown(world, received[SR])
    assert '"Brain age")="52.0" (a,UCUM,"year")' in text
    assert "47.1" not in text, "an estimate from simulated labels is never handed on"
    assert "Symbol Digit" not in text


def test_sending_again_leaves_the_receivers_with_what_they_had(world, study):
    ids = answered(world.processes, files=files_of(study))
    sent = settled(world, ids["run_id"])
    assert {(one["kind"], one["destination"]) for one in sent} == {
        ("sr", "dimse:pacs"), ("pdf", "dimse:pacs"), ("sc", "dimse:pacs"), ("sr", "dimse:moody"),
        ("sr", "dicomweb:archive"), ("event", "webhook:his"), ("event", "webhook:research"),
        ("oru_pdf", "hl7:ris"), ("fhir", "fhir:server"),
    }  # fmt: skip
    (stored,) = world.orthanc.instances(study["StudyInstanceUID"])
    tags = world.orthanc.rest.get(f"/instances/{stored}/simplified-tags").json()
    assert tags["SOPInstanceUID"] == own_uid(ids["run_id"], "sr")
    for one in sent:
        retry(world, one)
    again = wait_until(
        lambda: (found := settled(world, ids["run_id"])) and all(one["tries"] == 2 for one in found) and found,
        "the second round",
    )
    assert {one["object_uid"] for one in again} == {one["object_uid"] for one in sent}
    assert world.orthanc.instances(study["StudyInstanceUID"]) == [stored]
    assert set(objects(world, study)) == {SR, PDF, SC}
    events = [event["event_id"] for event in world.his.events() if event["run_id"] == ids["run_id"]]
    assert len(events) == 2
    assert len(set(events)) == 1


def test_a_ris_is_told_a_preliminary_answer_and_the_final_one_when_a_person_has_accepted_it(world, study):
    world.ris.answers.extend([("AE", "207"), ("AA", "")])
    ids = answered(world.processes, header=study | {"PatientID": "RIS-1"})
    for destination in ("hl7:ris", "fhir:server"):
        settled(world, ids["run_id"], destination)
    assert [observed(one)["BA"] for one in world.ris.of("RIS-1")] == [("52", "P"), ("52", "P")]
    world.processes.client.post(f"/runs/{ids['run_id']}/verdicts", json={"verdict": "accepted"}).raise_for_status()
    wait_until(lambda: len(world.ris.of("RIS-1")) == 3, "the final message")
    assert observed(world.ris.of("RIS-1")[-1])["BA"] == ("52", "F")
    assert world.ris.faults == []

    def statuses():
        subject = {"type": "Patient", "identifier": {"value": "RIS-1"}}
        return [one["status"] for one in world.fhir.reports() if one["subject"] == subject]

    wait_until(lambda: statuses() == ["final"], "the final report")


def test_a_webhook_is_signed_and_names_nobody(world, study):
    ids = answered(world.processes, files=files_of(study), sdmt=simulated_sdmt())
    settled(world, ids["run_id"], "webhook:his")
    ((headers, body),) = [call for call in world.his.calls if ids["run_id"].encode() in call[1]]
    at, _, mark = headers["Med3d-Signature"].removeprefix("t=").partition(",v1=")
    assert hmac.compare_digest(mark, hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest())
    assert abs(time.time() - int(at)) < 60
    event = json.loads(body)
    assert (event["type"], event["brain_age"]["estimate"], event["sdmt"]) == ("run.completed", 52.0, None)
    assert headers["Med3d-Event-Id"] == event["event_id"]
    assert all(value not in body.decode() for value in PATIENT.values() if len(value) > 1)


def test_a_refused_run_sends_a_report_without_a_number(world, study):
    ids = refused_run(world.processes, files=files_of(study))
    settled(world, ids["run_id"], "dimse:pacs")
    report = objects(world, study)[SR]
    check_valid(world.receiver.file_of(report.SOPInstanceUID))
    text = shown(world, report)
    assert "Refused: no estimate" in text
    assert "not_a_head" in text
    assert "NUM:" not in text


def test_what_waits_for_a_peer_that_is_down_goes_when_it_is_back(world, study):
    world.receiver.stop()
    try:
        ids = answered(world.processes, files=files_of(study))
        wait_until(
            lambda: (found := deliveries(world, ids["run_id"], "dimse:pacs")) and found[0]["tries"] > 1,
            "tries that failed",
        )
        waiting = deliveries(world, ids["run_id"], "dimse:pacs")
        assert {one["fault"] for one in waiting if one["fault"]} == {"peer_away:no_association"}
    finally:
        world.receiver.start()
    settled(world, ids["run_id"], "dimse:pacs")
    assert set(objects(world, study)) == {SR, PDF, SC}


def test_a_peer_that_accepts_and_then_fails_is_tried_until_it_stores(world, study):
    world.moody.statuses.extend([0xA700, 0x0110, 0xA700])
    ids = answered(world.processes, files=files_of(study))
    (sent,) = settled(world, ids["run_id"], "dimse:moody")
    assert sent["tries"] == 4
    uid = own_uid(ids["run_id"], "sr")
    assert [got for got in world.moody.got if got == uid] == [uid] * 4


def test_what_a_peer_will_never_take_is_dead_until_a_person_retries(world, study):
    world.moody.statuses.append(0xA900)
    ids = answered(world.processes, files=files_of(study))
    (one,) = settled(world, ids["run_id"], "dimse:moody", "dead")
    assert one["fault"] == "refused:0xA900"
    dead = world.processes.client.get("/deliveries", params={"status": "dead"}).json()["items"]
    assert one in dead
    assert 'med3d_deliveries{status="dead",to="dimse:moody"} 1.0' in world.processes.client.get("/metrics").text
    retry(world, one)
    settled(world, ids["run_id"], "dimse:moody")


def test_a_deliverer_killed_in_the_middle_delivers_after_its_restart(world, study):
    world.moody.hold.clear()
    ids = answered(world.processes, files=files_of(study))
    uid = own_uid(ids["run_id"], "sr")
    try:
        wait_until(lambda: uid in world.moody.got, "that the object is on its way")
        assert [one["status"] for one in deliveries(world, ids["run_id"], "dimse:moody")] == ["sending"]
        settled(world, ids["run_id"], "webhook:his")  # a peer that hangs keeps nobody else waiting
        world.processes.stop("deliverer", signal.SIGKILL)
        end_leases(world)
    finally:
        world.moody.hold.set()
        world.processes.start("deliverer")
    settled(world, ids["run_id"])
    assert world.moody.got.count(uid) >= 2


def end_leases(world):
    """Let the minute pass in which a sender that fell silent is waited for."""
    with closing(world.processes.open_database()) as database, database.write() as session:
        session.execute(update(DeliveryRow).values(lease_until=DeliveryRow.lease_until - 60))


def test_a_webhook_is_retried_and_a_redirect_is_no_delivery(world, study):
    world.his.statuses.extend([500, 302, 429])
    ids = answered(world.processes, files=files_of(study))
    (one,) = settled(world, ids["run_id"], "webhook:his")
    assert one["tries"] == 4
    world.his.statuses.append(422)
    retry(world, one)
    (one,) = settled(world, ids["run_id"], "webhook:his", "dead")
    assert one["fault"] == "refused:http_422"


def test_a_cohort_run_goes_only_where_cohorts_are_wanted_unless_asked(world, study):
    ids = answered(world.processes, files=files_of(study), priority="cohort")
    (one,) = settled(world, ids["run_id"])
    assert one["destination"] == "webhook:research"
    asked = world.processes.client.post(f"/runs/{ids['run_id']}/deliveries")
    assert (asked.status_code, asked.json()) == (202, {"planned": 8})
    assert len(settled(world, ids["run_id"])) == 9
    assert world.processes.client.post(f"/runs/{ids['run_id']}/deliveries").json() == {"planned": 0}


def test_images_that_were_no_dicom_send_events_and_no_objects(world):
    processes = world.processes
    ids = processes.submit(("head.nii", nifti_file())).json()
    processes.working_copy(ids["study_id"])
    attempt = wait_until(lambda: claimed(processes, ids["run_id"]), "the claim").attempt
    processes.worker.outcome(ids["run_id"], refused(attempt))
    assert {one["kind"] for one in settled(world, ids["run_id"])} == {"event", "fhir"}
    answer = processes.clinical.get(f"/runs/{ids['run_id']}/sr")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_dicom_study")
    assert processes.clinical.get(f"/runs/{ids['run_id']}/report.pdf").status_code == 200
    assert processes.clinical.get(f"/runs/{ids['run_id']}/fhir").status_code == 200


def test_what_is_asked_for_by_hand_is_what_was_sent_and_takes_a_clinical_key(world, study):
    ids = answered(world.processes, files=files_of(study))
    settled(world, ids["run_id"], "dimse:pacs")
    for path in ("sr", "fhir", "report.pdf"):
        turned_away = world.processes.client.get(f"/runs/{ids['run_id']}/{path}")
        assert (turned_away.status_code, turned_away.json()["code"]) == (403, "wrong_scope"), path
    clinical = world.processes.clinical
    report = clinical.get(f"/runs/{ids['run_id']}/sr")
    assert report.headers["Content-Type"] == "application/dicom"
    assert report.headers["Cache-Control"] == "private, no-store"
    assert read(report.content).to_json_dict() == objects(world, study)[SR].to_json_dict()
    assert clinical.get(f"/runs/{ids['run_id']}/report.pdf").content.startswith(b"%PDF-")
    resources = clinical.get(f"/runs/{ids['run_id']}/fhir").json()
    assert resources["entry"][0]["resource"]["subject"]["identifier"]["value"] == PATIENT["PatientID"]
    unknown = clinical.get("/runs/nobody/sr")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_run")
    early = world.processes.submit(("other.nii", nifti_file(shape=(4, 4, 4)))).json()
    unfinished = clinical.get(f"/runs/{early['run_id']}/sr")
    assert (unfinished.status_code, unfinished.json()["code"]) == (409, "not_answered")


def test_no_identifier_is_readable_in_anything_that_deliveries_left(world, study):
    marked = study | {"PatientName": f"{CANARY}^Jane", "PatientID": CANARY, "AccessionNumber": CANARY[:8]}
    ids = answered(world.processes, files=files_of(marked))
    settled(world, ids["run_id"])
    assert CANARY.encode() in world.processes.clinical.get(f"/runs/{ids['run_id']}/sr").content
    listed = "".join(world.processes.client.get(path).text for path in ("/deliveries", "/metrics", "/runs"))
    written = contents_of(world.processes.data_dir)
    assert [path for path in written if "reports" in path.parts], "objects are kept, sealed"
    for mark in (CANARY[:8], "8675309", "19701112"):
        assert mark not in listed
        for path, data in written.items():
            assert mark.encode() not in data, path.name


def test_studies_are_found_by_what_names_them_and_only_with_a_clinical_key(world, study):
    named = study | {"PatientID": "PAT-Find-Me", "AccessionNumber": "ACC-Find-Me"}
    ids = answered(world.processes, files=files_of(named))
    clinical, client = world.processes.clinical, world.processes.client

    def found(**query):
        items = clinical.get("/studies", params=query).raise_for_status().json()["items"]
        return [item["study_id"] for item in items]

    assert found(patient_id=" pat-find-me") == [ids["study_id"]], "blanks and case do not count"
    assert found(accession="ACC-Find-Me") == [ids["study_id"]]
    assert found(study_uid=study["StudyInstanceUID"]) == [ids["study_id"]]
    assert found(study_uid=study["StudyInstanceUID"], patient_id="somebody else") == []
    assert found(accession="PAT-Find-Me") == [], "each identifier has an index of its own kind"
    assert ids["study_id"] in found()
    turned_away = client.get("/studies", params={"patient_id": "PAT-Find-Me"})
    assert (turned_away.status_code, turned_away.json()["code"]) == (403, "wrong_scope")
    assert ids["study_id"] in client.get("/studies").text
