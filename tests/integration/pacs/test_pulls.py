"""Studies fetched from a real Orthanc, over DICOMweb and over DIMSE, asked for with POST /studies."""

import pytest
from pydicom.uid import generate_uid

from rig.processes.gateway import AE_TITLE, files_of, new_study
from rig.processes.service import contents_of
from rig.processes.waiting import wait_until

SOURCES = ("dicomweb", "dimse")


def held_by(ward, *studies):
    for study in studies:
        ward.add(*files_of(study))


@pytest.mark.parametrize("source", SOURCES)
def test_a_study_is_fetched_by_its_uid_and_gets_its_run_at_once(beside_ward, ward, source):
    study = new_study(5)
    held_by(ward, study)
    taken = beside_ward.pull(source=source, peer="ward", study_uid=study[0].StudyInstanceUID)
    assert taken.status_code == 202
    assert taken.headers["location"] == taken.json()["links"]["pull"]
    pull = beside_ward.wait_for_pull(taken.json()["pull_id"])
    (fetched,) = pull["studies"]
    assert (pull["status"], fetched["status"], fetched["instances"]) == ("done", "done", 5)
    assert beside_ward.run(fetched["run_id"])["study_id"] == fetched["study_id"]
    assert beside_ward.working_copy(fetched["study_id"])["working_copy"] == "ready"
    assert beside_ward.study(fetched["study_id"])["files"] == 5


@pytest.mark.parametrize("source", SOURCES)
def test_a_study_is_found_by_its_accession_number(beside_ward, ward, source):
    accession = generate_uid()[-16:]
    study = new_study(3, AccessionNumber=accession)
    held_by(ward, study, new_study(2, AccessionNumber="OTHER"))
    pull = beside_ward.wait_for_pull(
        beside_ward.pull(source=source, peer="ward", accession=accession).json()["pull_id"]
    )
    assert [found["instances"] for found in pull["studies"]] == [3]
    assert beside_ward.arrival(study[0].StudyInstanceUID).run_id == pull["studies"][0]["run_id"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_query_fetches_every_study_that_matches(beside_ward, ward, source):
    patient = generate_uid()[-20:]
    studies = [new_study(2, PatientID=patient, StudyDate=f"2020010{day}") for day in (1, 2, 3)]
    held_by(ward, *studies)
    query = {"patient_id": patient, "study_date": "20200102-", "modality": "MR"}
    pull = beside_ward.wait_for_pull(beside_ward.pull(source=source, peer="ward", query=query).json()["pull_id"])
    assert [found["status"] for found in pull["studies"]] == ["done", "done"]
    assert [beside_ward.arrival(study[0].StudyInstanceUID) is not None for study in studies] == [False, True, True]


@pytest.mark.parametrize("source", SOURCES)
def test_what_the_peer_does_not_have_is_told(beside_ward, source):
    for wanted in ({"study_uid": generate_uid()}, {"accession": "NOBODY"}):
        pull = beside_ward.wait_for_pull(beside_ward.pull(source=source, peer="ward", **wanted).json()["pull_id"])
        assert (pull["status"], pull["fault"]["code"]) == ("failed", "nothing_found")


@pytest.mark.parametrize("source", SOURCES)
def test_only_the_mr_series_of_a_study_are_fetched(beside_ward, ward, source):
    study = new_study(3)
    (report,) = new_study(1, StudyInstanceUID=study[0].StudyInstanceUID, Modality="SR")
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.34"
    held_by(ward, [*study, report])
    taken = beside_ward.pull(source=source, peer="ward", study_uid=study[0].StudyInstanceUID)
    (fetched,) = beside_ward.wait_for_pull(taken.json()["pull_id"])["studies"]
    assert (fetched["instances"], fetched["skipped_instances"]) == (3, 1)


@pytest.mark.parametrize("source", SOURCES)
def test_a_peer_that_is_down_is_asked_again_until_it_is_there(beside_ward, ward, source):
    study = new_study(3)
    held_by(ward, study)
    ward.stop()
    try:
        pull_id = beside_ward.pull(source=source, peer="ward", study_uid=study[0].StudyInstanceUID).json()["pull_id"]
        fault = wait_until(lambda: beside_ward.pull_view(pull_id)["fault"], "the fault")
        assert fault["code"] == "peer_unreachable"
        again = beside_ward.pull(source=source, peer="ward", study_uid=study[0].StudyInstanceUID)
        assert (again.status_code, again.json()["pull_id"]) == (200, pull_id)
    finally:
        ward.start()
    pull = beside_ward.wait_for_pull(pull_id)
    assert (pull["status"], pull["fault"]) == ("done", None)
    assert pull["tries"] > 1


def test_a_study_that_was_fetched_before_is_the_same_and_gets_no_second_run(beside_ward, ward):
    study = new_study(4)
    held_by(ward, study)
    runs = set()
    for source in SOURCES:
        taken = beside_ward.pull(source=source, peer="ward", study_uid=study[0].StudyInstanceUID)
        (fetched,) = beside_ward.wait_for_pull(taken.json()["pull_id"])["studies"]
        runs.add(fetched["run_id"])
    assert len(runs) == 1


def test_a_peer_that_is_asked_to_move_a_study_sends_it_to_our_listener(beside_ward, ward):
    study = new_study(5)
    held_by(ward, study)
    taken = beside_ward.pull(source="dimse", peer="mover", study_uid=study[0].StudyInstanceUID)
    (fetched,) = beside_ward.wait_for_pull(taken.json()["pull_id"])["studies"]
    assert (fetched["status"], fetched["instances"]) == ("done", 5)
    assert beside_ward.study(fetched["study_id"])["files"] == 5
    assert beside_ward.arrival(study[0].StudyInstanceUID).source == "dimse"


def test_a_move_to_a_listener_that_the_peer_does_not_know_is_told(beside_ward, ward):
    study = new_study(2)
    held_by(ward, study)
    known = ward.rest.delete("/modalities/med3d")
    assert known.status_code == 200
    try:
        pull_id = beside_ward.pull(source="dimse", peer="mover", study_uid=study[0].StudyInstanceUID).json()["pull_id"]
        wait_until(lambda: beside_ward.pull_view(pull_id)["fault"], "the fault")
        assert beside_ward.pull_view(pull_id)["fault"]["code"] in {"peer_failed", "answer_incomplete"}
    finally:
        ward.set_modality("med3d", AE_TITLE, beside_ward.settings.dicom_port)
    assert beside_ward.wait_for_pull(pull_id)["status"] == "done"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"source": "dicomweb", "peer": "nobody", "study_uid": "1.2.3"}, "unknown_peer"),
        ({"source": "dicomweb", "peer": "http://127.0.0.1:8042/", "study_uid": "1.2.3"}, "unknown_peer"),
        ({"source": "http", "peer": "ward", "study_uid": "1.2.3"}, "invalid_request"),
        ({"source": "dicomweb", "peer": "ward", "url": "http://127.0.0.1/", "study_uid": "1.2.3"}, "invalid_request"),
        ({"source": "dicomweb", "peer": "ward"}, "invalid_request"),
        ({"source": "dicomweb", "peer": "ward", "study_uid": "1.2.3", "accession": "A"}, "invalid_request"),
        ({"source": "dicomweb", "peer": "ward", "study_uid": "../patients"}, "invalid_request"),
        ({"source": "dicomweb", "peer": "ward", "accession": "*"}, "invalid_request"),
        ({"source": "dicomweb", "peer": "ward", "query": {"modality": "MR"}}, "invalid_request"),
    ],
)
def test_a_request_that_means_nothing_or_names_an_address_is_refused(beside_ward, wanted, code):
    answer = beside_ward.pull(**wanted)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_body_that_is_no_json_is_refused(beside_ward):
    headers = {"Content-Type": "application/json"}
    answer = beside_ward.client.post("/pulls", content=b"{", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    large = beside_ward.client.post("/pulls", content=b" " * 100_000, headers=headers)
    assert (large.status_code, large.json()["code"]) == (413, "upload_too_large")


def test_what_was_asked_for_is_in_no_log_and_not_in_the_database_as_text(beside_ward, ward):
    study = new_study(2, AccessionNumber="SECRET-ACC")
    held_by(ward, study)
    beside_ward.wait_for_pull(beside_ward.pull(source="dimse", peer="ward", accession="SECRET-ACC").json()["pull_id"])
    kept = b"".join(contents_of(beside_ward.data_dir).values())
    for secret in ("SECRET-ACC", study[0].StudyInstanceUID):
        assert secret.encode() not in kept
