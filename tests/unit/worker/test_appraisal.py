"""Which series of a study can be analysed: the set that decides whether late instances supersede an answer."""

import io
import tarfile

import pydicom
import pytest
from structlog.testing import capture_logs

from med3d_client.worker import ApiError, Superseded
from med3d_contract.work import AppraisalRequest
from med3d_store.object_store import ObjectStore
from med3d_worker.scratch import Scratch
from med3d_worker.stages.appraisal import StudyAppraisal
from rig.dicom.uploads import dicom_files


class Api:
    """Hands out one working copy and takes what was found."""

    def __init__(self, stored):
        self.stored = stored
        self.found = []

    def appraisal_request(self, _study_id):
        if self.stored is None:
            raise Superseded("not needed")
        return AppraisalRequest(working_copy_key=self.stored.key, working_copy_sha256=self.stored.sha256)

    def appraised(self, _study_id, appraisal):
        assert appraisal.working_copy_sha256 == self.stored.sha256
        self.found.append(appraisal.eligible)


@pytest.fixture
def appraise(tmp_path):
    """Give the eligible series of files."""
    store = ObjectStore.make((tmp_path / "store").as_uri())

    def of(files):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for number, data in enumerate(files):
                entry = tarfile.TarInfo(f"{number:05d}.dcm")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        api = Api(store.put("working/x.tar", buffer.getvalue()))
        StudyAppraisal(api, store, Scratch(tmp_path / "scratch"))("study")
        [found] = api.found
        return found

    (tmp_path / "scratch").mkdir()
    return of


def files_of(*folders):
    return [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.dcm"))]


def without_person(data):
    """As a working copy has it: who it is of is not told."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for keyword in ("PatientID", "PatientBirthDate", "PatientSex"):
        dataset.pop(keyword, None)
    copy = io.BytesIO()
    dataset.save_as(copy)
    return copy.getvalue()


@pytest.mark.realdata
def test_field_maps_change_nothing_and_another_t1_does(appraise, test_data):
    study = test_data / "dicom" / "siemens_trio_study"
    t1 = files_of(study / "t1_MPRAGEcr_noGRAPPA_19")
    maps = files_of(study / "gre_field_mapping_2", study / "gre_field_mapping_3")
    other = [
        without_person(data) for data in files_of(next((test_data / "dicom/ge_fruit_not_a_head").rglob("*.dcm")).parent)
    ]

    alone, with_maps, with_other = appraise(t1), appraise(t1 + maps), appraise(t1 + other)

    assert len(alone) == 1
    assert with_maps == alone
    assert set(alone) < set(with_other)
    assert appraise(maps) == ()


@pytest.mark.realdata
def test_missing_slices_make_a_series_another_or_none(appraise, test_data):
    t1 = files_of(test_data / "dicom" / "siemens_trio_study" / "t1_MPRAGEcr_noGRAPPA_19")
    assert appraise(t1[:-1]) != appraise(t1)


def test_where_nothing_can_be_analysed_the_set_is_empty(appraise):
    assert appraise(dicom_files(4)) == ()
    assert appraise([b"no image"]) == ()


def test_an_appraisal_that_the_service_refuses_is_said_in_one_line(tmp_path):
    class Refusing(Api):
        def appraisal_request(self, _study_id):
            raise ApiError(401, "invalid_key", "The key was revoked.", "Ask for another.")

    with capture_logs() as said:
        StudyAppraisal(Refusing(None), None, Scratch(tmp_path))("study")
    assert [(line["event"], line["code"]) for line in said] == [("appraisal_refused", "invalid_key")]


def test_an_appraisal_that_is_not_needed_any_more_is_left(tmp_path):
    api = Api(None)
    StudyAppraisal(api, None, Scratch(tmp_path))("study")
    assert api.found == []
