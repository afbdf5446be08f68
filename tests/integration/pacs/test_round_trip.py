"""From Orthanc and back: a study becomes stable there, and its answer lies beside it, and comes round without end."""

import io

import pytest
from pydicom import dcmread

from med3d_service.studies.own_objects import is_own, own_uid
from rig.processes.gateway import files_of, new_study
from rig.processes.waiting import wait_until
from rig.service.answers import claimed, complete

DELIVERIES = """
[[deliver]]
peer = "ward"
protocol = "dicomweb"
kinds = ["sr", "pdf"]
[[deliver]]
peer = "ward"
protocol = "dimse"
kinds = ["sc"]
"""


@pytest.fixture
def delivering(beside_ward, tmp_path):
    """The service with a deliverer that sends everything back to the ward."""
    (tmp_path / "deliveries.toml").write_text(DELIVERIES)
    beside_ward.environment["MED3D_DELIVERIES_FILE"] = str(tmp_path / "deliveries.toml")
    beside_ward.start("deliverer")
    yield beside_ward
    del beside_ward.environment["MED3D_DELIVERIES_FILE"]
    beside_ward.stop("deliverer")


def answer(service, run_id):
    """Do what a worker does; the run's ids."""
    ids = {"run_id": run_id, "study_id": service.run(run_id)["study_id"]}
    service.working_copy(ids["study_id"])
    complete(service, ids, wait_until(lambda: claimed(service, run_id), "the claim").attempt)
    return ids


def pulls_of(service, run_id):
    return [pull for pull in service.pulls() if any(one["run_id"] == run_id for one in pull["studies"])]


def test_the_answer_arrives_beside_its_study_and_what_comes_round_opens_nothing(delivering, ward):
    study = new_study(5, PatientName="Round^Trip")
    uid = study[0].StudyInstanceUID
    ward.add(*files_of(study))
    run_id = delivering.run_of(uid)
    wait_until(lambda: pulls_of(delivering, run_id), "the pull")
    answer(delivering, run_id)
    wait_until(lambda: len(ward.instances(uid)) == 8, "SR, PDF and SC beside the five images")

    files = [dcmread(io.BytesIO(ward.rest.get(f"/instances/{one}/file").content)) for one in ward.instances(uid)]
    ours = {dataset.Modality: dataset for dataset in files if is_own(dataset.SOPInstanceUID)}
    assert set(ours) == {"SR", "DOC", "OT"}
    assert all(str(dataset.PatientName) == "Round^Trip" for dataset in ours.values())
    report = ours["SR"]
    assert report.SOPInstanceUID == own_uid(run_id, "sr")
    (series,) = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence} == {
        dataset.SOPInstanceUID for dataset in study
    }

    # The study is stable again, now with our objects in it: Orthanc's hook calls, and C-STORE brings all of it.
    wait_until(lambda: len(pulls_of(delivering, run_id)) >= 2, "the hook of the study with its reports")
    study_id = next(one["ID"] for one in ward.rest.post("/tools/lookup", content=uid).json() if one["Type"] == "Study")
    ward.rest.post("/modalities/med3d/store", content=study_id).raise_for_status()
    wait_until(lambda: all(pull["status"] == "done" for pull in pulls_of(delivering, run_id)), "the end of the pulls")
    assert delivering.run_of(uid) == run_id
    assert delivering.run(run_id)["status"] == "completed"
    assert [run["run_id"] for run in delivering.study(delivering.run(run_id)["study_id"])["runs"]] == [run_id]
    assert len(ward.instances(uid)) == 8
