"""What the service tells a worker of a subject is what `med3d analyse` would find in the same images."""

import pytest

from med3d_contract.ages import read_age, storable_age
from med3d_pipeline.study.study import PatientAttributes
from med3d_service.runs.views import subject_of
from med3d_service.tables import StudyRow
from med3d_worker.analysis import age_at_scan

HEADERS = [
    {"patient_age": "45Y"},
    {"birth_date": "19000101", "study_date": "20150601", "patient_age": "045Y"},
    {"birth_date": "19660101", "study_date": "20130717", "patient_age": "042Y"},
    {"birth_date": "20160101", "study_date": "20130717"},
    {"birth_date": "19660101", "study_date": "20130717"},
    {},
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("stated", [None, 50.0])
def test_the_service_and_the_command_line_agree_on_the_age(header, stated):
    study = StudyRow(stated_age=stated, found_age=storable_age(read_age(**header)))
    subject = subject_of(study)
    found = age_at_scan(PatientAttributes(**header), stated)
    assert (subject.age, subject.age_doubt) == (found.age, found.doubt)


def test_an_age_kept_before_doubts_were_is_still_read():
    subject = subject_of(StudyRow(found_age={"years": 65.5, "source": "birth_date", "note": None}))
    assert (subject.age.years, subject.age_doubt) == (65.5, None)
