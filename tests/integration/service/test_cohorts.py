"""Cohorts over the API, on both databases."""

import gzip
import uuid

import pytest

from med3d_cli.cohort.cohort_import import import_scans
from med3d_client.transport import ApiError, Conflict
from med3d_contract.cohort_manifest import read_manifest
from med3d_contract.cohorts import CohortDraft, MemberFilter, NightSchedule
from rig.dicom.uploads import nifti_file
from rig.service.parts import worker


@pytest.fixture
def service(shared_processes):
    shared_processes.hello(worker())
    return shared_processes


def name():
    return f"c-{uuid.uuid4().hex[:12]}"


def write_manifest(folder, count=4):
    """Scans that no other test has, two of one person."""
    rows = ["participant_id,visit,age,sex,site,sdmt,t1w"]
    for number in range(count):
        data = nifti_file(shape=(4, 5, 6), trailing=b"") + uuid.uuid4().bytes
        (folder / f"{number}.nii.gz").write_bytes(gzip.compress(data))
        rows.append(f"S-{max(number, 1)},v{number},{40 + number},F,X,{50 + number},{number}.nii.gz")
    (folder / "participants.csv").write_text("\n".join(rows))
    return read_manifest(folder)


def test_a_manifest_comes_in_once_and_without_runs(service, cohorts, tmp_path):
    scans = write_manifest(tmp_path)
    made = cohorts.create(CohortDraft(name=name()))
    assert import_scans(cohorts, made.name, scans).sent == 4
    again = import_scans(cohorts, made.cohort_id, scans)
    assert (again.sent, again.known) == (0, 4)
    seen = cohorts.read(made.name)
    assert (seen.members, seen.subjects) == (4, 3)
    newest = service.client.get("/studies", params={"limit": 4}).json()["items"]
    assert [study["runs"] for study in newest] == [[], [], [], []]
    assert {study["subject"] for study in newest} == {"S-1", "S-2", "S-3"}
    assert {study["age"]["years"] for study in newest} == {40, 41, 42, 43}
    service.working_copy(newest[0]["study_id"])  # made although no run waits for it


def test_a_study_that_was_sent_to_be_run_is_not_sent_again_for_the_cohort(service, cohorts, tmp_path):
    scans = write_manifest(tmp_path, 1)
    ids = service.submit(("x.nii", gzip.decompress((tmp_path / "0.nii.gz").read_bytes()))).json()
    made = cohorts.create(CohortDraft(name=name()))
    assert import_scans(cohorts, made.name, scans).known == 1
    assert service.study(ids["study_id"])["subject"] == "S-1"


def test_what_is_no_image_is_named_and_leaves_no_member(cohorts, tmp_path):
    scans = write_manifest(tmp_path, 2)
    (tmp_path / "0.nii.gz").write_bytes(b"no image")
    made = cohorts.create(CohortDraft(name=name()))
    done = import_scans(cohorts, made.name, scans)
    assert done.sent == 1
    assert "nifti_unreadable" in done.problems[0]
    assert cohorts.read(made.name).members == 1


def test_a_cohort_by_filter_finds_its_members(service, cohorts, tmp_path):
    scans = write_manifest(tmp_path)
    everybody = cohorts.create(CohortDraft(name=name()))
    import_scans(cohorts, everybody.name, scans)
    site = {"scan_sites": ("X",), "age_min": 42, "age_max": 43}
    made = cohorts.create(CohortDraft(name=name(), member_filter=MemberFilter.model_validate(site)))
    assert made.members >= 2
    assert made.member_filter.age_min == 42


def test_a_schedule_is_kept_changed_and_taken_away(cohorts):
    made = cohorts.create(CohortDraft(name=name(), schedule=NightSchedule(time_zone="Europe/Berlin")))
    assert made.next_night is not None
    assert cohorts.change(made.name, {"bundle": "bundle@1"}).schedule == made.schedule
    changed = cohorts.change(made.name, {"schedule": None, "bundle": None})
    assert (changed.schedule, changed.next_night, changed.bundle) == (None, None, None)


def test_what_cannot_be_is_said(cohorts):
    made = cohorts.create(CohortDraft(name=name()))
    with pytest.raises(Conflict, match="has this name"):
        cohorts.create(CohortDraft(name=made.name))
    with pytest.raises(ApiError, match="unknown_cohort"):
        cohorts.read("none-such")
    with pytest.raises(ApiError, match="unknown_bundle"):
        cohorts.create(CohortDraft(name=name(), bundle="none-such"))
    with pytest.raises(ApiError, match="invalid_request"):
        cohorts.change(made.name, {"schedule": {"time_zone": "Berlin"}})


def test_a_study_for_a_cohort_has_neither_priority_nor_bundle(service, cohorts):
    made = cohorts.create(CohortDraft(name=name()))
    files = [("files", ("x.nii", nifti_file()))]
    answer = service.client.post(f"/cohorts/{made.name}/studies", files=files, data={"priority": "stat"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_field")
    answer = service.client.post("/cohorts/none-such/studies", files=files)
    assert answer.json()["code"] == "unknown_cohort"
