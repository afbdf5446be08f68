"""What the service tells a worker of a subject is what `med3d analyse` would find in the same images."""

import pytest

from med3d_contract.ages import agreed_age, read_age, storable_age, stored_age
from med3d_contract.scan_dates import DatesBeside
from med3d_contract.work import Subject
from med3d_pipeline.study.study import PatientAttributes
from med3d_service.runs.views import A_VOLUME, analysed_series, subject_of
from med3d_service.storage.tables import StudyRow
from med3d_worker.analysis import age_at_scan

HEADERS = [
    {"patient_age": "45Y"},
    {"birth_date": "19000101", "study_date": "20150601", "patient_age": "045Y"},
    {"birth_date": "19660101", "study_date": "20130717", "patient_age": "042Y"},
    {"birth_date": "20160101", "study_date": "20130717"},
    {"birth_date": "19660101", "study_date": "20130717"},
    {"birth_date": "19660101", "acquisition_date": "20130717"},
    {"birth_date": "19660101", "content_date": "20130717"},
    {"birth_date": "19660101"},
    {},
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("stated", [None, 50.0])
def test_the_service_and_the_command_line_agree_on_the_age(header, stated):
    dates = {
        name.removesuffix("_date"): header[name] for name in ("acquisition_date", "content_date") if name in header
    }
    asked = {name: text for name, text in header.items() if name.removesuffix("_date") not in dates}
    study = StudyRow(stated_age=stated, found_age=storable_age(read_age(**asked, beside=DatesBeside(**dates))))
    subject = subject_of(study)
    by_hand = None if stated is None else read_age(stated_years=stated)
    found = age_at_scan((PatientAttributes(**header),), by_hand)
    assert (subject.age, subject.age_doubt) == (found.age, found.doubt)


def test_an_age_kept_before_doubts_were_is_still_read():
    subject = subject_of(StudyRow(found_age={"years": 65.5, "source": "birth_date", "note": None}))
    assert (subject.age.years, subject.age_doubt) == (65.5, None)


def test_the_age_is_that_of_the_analysed_series_and_not_of_another_examination():
    ages = {
        uid: storable_age(read_age(birth_date="19660102", study_date=date))
        for uid, date in (("2.25.1", "20050601"), ("2.25.2", "20200601"))
    }
    doubt = storable_age(agreed_age(stored_age(age) for age in ages.values()))
    study = StudyRow(found_age=doubt, series_ages=ages | {"2.25.3": None})
    assert round(subject_of(study, "2.25.1").age.years) == 39
    assert round(subject_of(study, "2.25.2").age.years) == 54
    assert subject_of(study, "2.25.3") == Subject(age=None, sex=None), "as med3d analyse: the series does not tell"
    assert subject_of(study).age_doubt.code == "age_sources_disagree"
    stated = subject_of(StudyRow(stated_age=50.0, series_ages=ages), "2.25.2")
    assert (stated.age.years, stated.age_doubt.code) == (50, "stated_age_differs")


@pytest.mark.parametrize(
    ("source", "series", "uid"),
    [
        (None, None, None),
        (None, {"chosen": None, "candidates": []}, None),
        (None, {"chosen": "volume: 1.00 x 1.00 x 1.00 mm, 9 x 9 x 9", "candidates": []}, A_VOLUME),
        ({"series_uid": "2.25.1", "sop_class_uid": "1.2", "instance_uids": ["2.25.2"]}, {"chosen": "x"}, "2.25.1"),
    ],
)
def test_the_analysed_series_is_the_one_that_preprocessing_read(source, series, uid):
    assert analysed_series(source, series) == uid


def test_a_volume_has_no_age_of_the_dicom_beside_it():
    age = storable_age(read_age(patient_age="045Y"))
    assert subject_of(StudyRow(found_age=age, series_ages={"2.25.1": age}), A_VOLUME).age is None
    assert subject_of(StudyRow(found_age=age), A_VOLUME).age.years == 45.5, "as a message told of the patient"
