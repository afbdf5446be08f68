"""The way of a department: storescu to Orthanc, its hook, the service, and the answer beside the study in Orthanc."""

import io
import subprocess

import httpx
import pydicom
import pytest

from med3d_service.studies.own_objects import is_own, own_uid
from rig.peers.orthanc import HOOK_SCRIPT, Orthanc
from rig.peers.senders import by_cstore, by_stow
from rig.processes.embedded import Service, write_small_head
from rig.processes.gateway import HOOK_SECRET, peers_file
from rig.processes.service import free_port
from rig.processes.waiting import wait_until
from rig.service.arriving import saved

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    port = free_port()
    hook = {"Url": f"http://127.0.0.1:{port}/hooks/orthanc", "Peer": "ward", "Secret": "${MED3D_HOOK_SECRET}"}
    secret = {"MED3D_HOOK_SECRET": HOOK_SECRET}
    made = Orthanc(tmp_path_factory.mktemp("ward"), lua=[HOOK_SCRIPT], environment=secret, Med3d=hook).start()
    made.service_port = port
    yield made
    made.close()


@pytest.fixture(scope="module")
def service(ward, tmp_path_factory):
    """`med3d serve` that fetches from the ward's Orthanc, takes C-STORE, and sends the SR back."""
    root, dicom_port = tmp_path_factory.mktemp("service"), free_port()
    (root / "deliveries.toml").write_text('[[deliver]]\npeer = "ward"\nprotocol = "dimse"\nkinds = ["sr"]\n')
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MED3D_PEERS_FILE", str(peers_file(root, ward)))
        environment.setenv("MED3D_DELIVERIES_FILE", str(root / "deliveries.toml"))
        environment.setenv("MED3D_DICOM_PORT", str(dicom_port))
        environment.setenv("MED3D_DICOM_ALLOWED", "*@127.0.0.1")
        environment.setenv("MED3D_QUIET_S", "2")
        made = Service(root)
        try:
            made.start(port=ward.service_port)
            made.dicom_port, made.url = dicom_port, f"http://127.0.0.1:{ward.service_port}"
            made.key = made.data_dir.api_key_file.read_text().strip()
            yield made
        finally:
            made.end()


def storescu(port, called, folder):
    command = ["/usr/bin/storescu", "-aec", called, "+sd", "+r", "-nh", "127.0.0.1", str(port), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def the_only_run(service):
    runs = service.client.runs(limit=5)
    assert len(runs) <= 1, "one study has one run"
    return runs[0] if runs else None


def test_a_study_sent_to_orthanc_is_answered_there_by_itself(service, ward, test_data, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    for number, path in enumerate(sorted((test_data / "dicom" / "siemens_trio_study").rglob("*.dcm"))):
        (study / f"{number}.dcm").symlink_to(path)
    storescu(ward.dicom_port, ward.ae_title, study)
    (study_uid,) = ward.studies()
    images = set(ward.instances(study_uid))

    run = wait_until(lambda: the_only_run(service), "the run", 120)
    run = service.wait_for_end(run.run_id)
    assert run.status == "completed", run.refusal or run.failure

    (came,) = wait_until(lambda: set(ward.instances(study_uid)) - images, "the report in Orthanc")
    report = pydicom.dcmread(io.BytesIO(ward.rest.get(f"/instances/{came}/file").content))
    assert report.SOPInstanceUID == own_uid(run.run_id, "sr")
    assert report.StudyInstanceUID == study_uid
    assert brain_ages(report) == [pytest.approx(run.result.brain_age.estimate, abs=0.005)]

    # The report made the study stable once more, so it was fetched again; and the images come by two other ways.
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {service.key}"}) as api:

        def pulls():
            return [pull["status"] for pull in api.get("/pulls").json()["items"]]

        wait_until(lambda: len(found := pulls()) >= 2 and set(found) == {"done"}, "the second pull")
    storescu(service.dicom_port, "MED3D", study)
    server = {"Url": f"{service.url}/dicomweb", "HttpHeaders": {"Authorization": f"Bearer {service.key}"}}
    ward.rest.put("/dicom-web/servers/med3d", json=server).raise_for_status()
    sent = {"Resources": ward.instances(study_uid), "Synchronous": True}
    ward.rest.post("/dicom-web/servers/med3d/stow", json=sent, timeout=120).raise_for_status()
    assert the_only_run(service).run_id == run.run_id


@pytest.mark.parametrize("way", ["C-STORE", "STOW-RS"])
def test_a_study_that_comes_directly_is_answered_in_orthanc_as_well(service, ward, tmp_path, way):
    folder = write_small_head(tmp_path / "head", variant=len(way))
    study_uid = pydicom.dcmread(folder / "0000.dcm", stop_before_pixels=True).StudyInstanceUID
    if way == "C-STORE":
        by_cstore(service.dicom_port, folder)
    else:
        by_stow(service.url, service.key, folder)
    (came,) = wait_until(
        lambda: study_uid in ward.studies() and ward.instances(study_uid), "the report in Orthanc", 120
    )
    report = pydicom.dcmread(io.BytesIO(ward.rest.get(f"/instances/{came}/file").content))
    (run,) = [run for run in service.client.runs(limit=20) if own_uid(run.run_id, "sr") == report.SOPInstanceUID]
    assert brain_ages(report) == [pytest.approx(run.result.brain_age.estimate, abs=0.005)]


KEEP_UIDS = {"Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]}


def test_a_patient_corrected_in_orthanc_leaves_nothing_under_the_old_name(service, ward, tmp_path):
    """Corrected twice: under the same UIDs, and with UIDs of its own, which Orthanc gives unless it is told not to."""
    folder = write_small_head(tmp_path / "head", variant=40)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.PatientID, image.PatientName, image.PatientBirthDate = "WRONG-1", "Wrong^Wanda", "19400101"
        image.save_as(path)
    storescu(ward.dicom_port, ward.ae_title, folder)
    reports = [wait_until(lambda: new_report(ward, "WRONG-1", []), "the first report", 120)]

    for before, patient_id, how in (("WRONG-1", "RIGHT-2", KEEP_UIDS), ("RIGHT-2", "OTHER-3", {})):
        modify(ward, before, patient_id, how)
        ward.rest.post("/instances", content=saved(reports[-1])).raise_for_status()  # one that was under way
        new = wait_until(lambda to=patient_id: new_report(ward, to, reports), f"the report of {patient_id}", 120)
        assert predecessor_of(new) == reports[-1].SOPInstanceUID
        reports.append(new)

    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {service.key}"}) as api:
        deliveries = {one["object_uid"]: one for one in api.get("/deliveries", params={"limit": 50}).json()["items"]}
        for old in reports[:-1]:
            again = api.post(f"/deliveries/{deliveries[old.SOPInstanceUID]['delivery_id']}/retry")
            assert (again.status_code, again.json()["code"]) == (409, "identity_corrected")
    for gone in ("WRONG-1", "RIGHT-2"):
        asked = {"Level": "Instance", "Query": {"PatientID": gone}}
        wait_until(lambda asked=asked: not ward.rest.post("/tools/find", json=asked).json(), f"the end of {gone}", 60)


def modify(ward, before, patient_id, how):
    """Correct the patient of what Orthanc holds under ``before``, and remove that."""
    (found,) = ward.rest.post("/tools/find", json={"Level": "Patient", "Query": {"PatientID": before}}).json()
    corrected = {"Replace": {"PatientID": patient_id, "PatientName": f"{patient_id}^Rita"}, "Force": True}
    body = corrected | how | {"KeepSource": False, "Synchronous": True}
    ward.rest.post(f"/patients/{found}/modify", json=body, timeout=60).raise_for_status()


def new_report(ward, patient_id, known):
    """The SR of ours that Orthanc holds for a patient, besides those that are known; None where there is none."""
    asked = {"Level": "Instance", "Query": {"PatientID": patient_id, "Modality": "SR"}}
    for found in ward.rest.post("/tools/find", json=asked).json():
        report = pydicom.dcmread(io.BytesIO(ward.rest.get(f"/instances/{found}/file").content))
        if is_own(report.SOPInstanceUID) and report.SOPInstanceUID not in {one.SOPInstanceUID for one in known}:
            return report
    return None


def predecessor_of(report):
    """The SOP Instance UID of the report that this one stands for."""
    (study,) = report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    return series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID


def brain_ages(report):
    """The numbers that an SR calls brain age."""
    return [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in walked(report)
        if item.get("ValueType") == "NUM" and item.ConceptNameCodeSequence[0].CodeMeaning == "Brain age"
    ]


def walked(dataset):
    """Every content item below ``dataset``."""
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from walked(item)
