"""From C-STORE to a run: the listener beside the service's other processes, dcmtk and a real Orthanc as senders."""

import copy

import pytest
from pydicom.uid import Comprehensive3DSRStorage

from med3d_service.studies.own_objects import own_uid
from rig.peers import dcmtk
from rig.peers.orthanc import Orthanc
from rig.processes.gateway import QUICK, Gateway, files_of, new_study, peers_file
from rig.processes.service import free_port
from rig.processes.waiting import wait_until


class Hospital(Gateway):
    """The service with its listener, and an Orthanc that may send to it and be asked by it."""

    def __init__(self, data_dir, orthanc=None, **environment):
        self.dicom_port = free_port()
        given = {"MED3D_DICOM_PORT": str(self.dicom_port), "MED3D_DICOM_ALLOWED": "*@127.0.0.1"}
        if orthanc is not None:
            given["MED3D_PEERS_FILE"] = str(peers_file(data_dir, orthanc))
        super().__init__(data_dir, **(given | environment))

    def take(self, folder, datasets):
        answers, said = dcmtk.send(self.dicom_port, dcmtk.write(folder, files_of(datasets)))
        assert answers == [dcmtk.SUCCESS] * len(datasets), said
        return datasets[0].StudyInstanceUID


def ours_of(image):
    """A report and a picture of ours, as they lie beside a study in the PACS."""
    report, picture = new_study(2, StudyInstanceUID=image.StudyInstanceUID, PatientID=image.PatientID)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = Comprehensive3DSRStorage
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = own_uid(image.StudyInstanceUID, "sr")
    picture.SOPInstanceUID = picture.file_meta.MediaStorageSOPInstanceUID = own_uid(image.StudyInstanceUID, "sc")
    return [report, picture]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    made = Hospital(tmp_path_factory.mktemp("data")).begin("listener")
    yield made
    made.close()


def test_a_study_sent_by_storescu_gets_its_run_when_it_is_quiet(hospital, tmp_path):
    uid = hospital.take(tmp_path, new_study(4))
    run_id = hospital.run_of(uid)
    assert hospital.working_copy(hospital.run(run_id)["study_id"])["files"] == 4
    assert hospital.created_at(run_id) >= hospital.arrival(uid).last_at + float(QUICK["MED3D_QUIET_S"])


def test_a_study_spread_over_time_and_associations_is_one(hospital, tmp_path):
    datasets = new_study(9)
    for part in range(3):
        uid = hospital.take(tmp_path / str(part), datasets[part::3])
    wait_until(lambda: hospital.files_of_run(uid) == 9, "a run of all that has come")


def test_the_same_study_by_upload_is_the_same(hospital, tmp_path):
    datasets = new_study(3)
    run_id = hospital.run_of(hospital.take(tmp_path, datasets))
    answer = hospital.submit(*((f"{n}.dcm", file) for n, file in enumerate(files_of(datasets))))
    assert answer.json()["study_id"] == hospital.run(run_id)["study_id"]


def test_a_study_of_two_patients_is_refused(hospital, tmp_path):
    first, second = new_study(2)
    second.PatientID = "SOMEBODY-ELSE"
    run_id = hospital.run_of(hospital.take(tmp_path, [first, second]))
    run = wait_until(lambda: (found := hospital.run(run_id))["status"] == "refused" and found, "the refusal")
    assert run["refusal"]["code"] == "several_patients"


def test_a_study_with_two_images_of_one_uid_is_refused_as_inconsistent(hospital, tmp_path):
    datasets = new_study(3)
    twin = copy.deepcopy(datasets[1])
    twin.PixelData = bytes(len(twin.PixelData))
    run_id = hospital.run_of(hospital.take(tmp_path, [*datasets, twin]))
    run = wait_until(lambda: (found := hospital.run(run_id))["status"] == "refused" and found, "the refusal")
    assert run["refusal"]["code"] == "inconsistent_study"


def test_a_pacs_says_how_many_it_holds_and_what_we_made_comes_back_without_a_loop(tmp_path_factory):
    pacs = Orthanc(tmp_path_factory.mktemp("pacs"), ae_title="ORTHANC").start()
    hospital = Hospital(tmp_path_factory.mktemp("data"), pacs, MED3D_QUIET_S="600").begin("listener")
    try:
        pacs.set_modality("med3d", "MED3D", hospital.dicom_port)
        datasets = new_study(5)
        pacs.add(*files_of(datasets))
        uid = datasets[0].StudyInstanceUID
        pacs.rest.post("/modalities/med3d/store", json=pacs.instances(uid), timeout=60).raise_for_status()
        run = hospital.run(hospital.run_of(uid))
        assert hospital.study(run["study_id"])["files"] == 5
        assert hospital.arrival(uid).expected == 5

        runs, before = hospital.runs(), hospital.arrival(uid)
        pacs.add(*files_of(ours_of(datasets[0])))
        answer = (
            pacs.rest.post("/modalities/med3d/store", json=pacs.instances(uid), timeout=60).raise_for_status().json()
        )
        assert (answer["InstancesCount"], answer["FailedInstancesCount"]) == (7, 0)
        after = hospital.arrival(uid)
        assert (after.status, after.last_at, after.instances) == ("settled", before.last_at, 5)  # nothing for the clock
        assert hospital.runs() == runs
    finally:
        hospital.close()
        pacs.close()


@pytest.mark.long
def test_a_study_waits_for_its_peers_count_no_longer_than_it_is_quiet(tmp_path_factory, tmp_path):
    pacs = Orthanc(tmp_path_factory.mktemp("pacs"), ae_title="SCANNER")  # configured, and down
    hospital = Hospital(tmp_path_factory.mktemp("data"), pacs, **QUICK).begin("listener")
    try:
        assert hospital.run_of(hospital.take(tmp_path, new_study(2)))
        wait_until(lambda: "count_not_known" in (hospital.data_dir / "listener.log").read_text(), "the vain question")
    finally:
        hospital.close()
        pacs.close()
