"""A study at fault that its PACS has corrected and sent again: it takes the refused one's place, and nothing else does."""

import json

import pytest
from sqlalchemy import select

from med3d_service.results.kinds import Kind
from med3d_service.results.reports.facts import patients_of
from med3d_service.results.reports.library import ReportLibrary, ReportUnavailableError
from med3d_service.storage.tables import RunRow, StudyRow
from rig.service.arriving import slices
from rig.service.ward import Ward

ACCESSION = {"AccessionNumber": "A-7", "PatientName": "Doe^Jane", "PatientBirthDate": "19700102"}


@pytest.fixture
def ward(tmp_path):
    made = Ward(tmp_path)
    yield made
    made.close()


def of_two(**second):
    """Four slices of P-1, two of them under another patient."""
    datasets = slices(4, **ACCESSION)
    for one in datasets[2:]:
        one.PatientID, one.PatientName = "P-2", "Roe^Richard"
    return datasets


REFUSED = ("refused", "several_patients", True, 4)


def test_the_corrected_study_takes_the_place_of_the_refused_one(ward):
    ward.send(*of_two())
    assert ward.runs() == [("refused", "several_patients", False, 4)]
    ward.send(*slices(4, **ACCESSION))
    assert ward.runs() == [REFUSED, ("queued", None, False, 4)]
    assert (ward.row().fault, ward.row().instances) == (None, 4)


def test_corrected_for_a_third_patient_it_is_theirs(ward):
    ward.send(*of_two())
    ward.send(*slices(4, **ACCESSION | {"PatientID": "P-3"}))
    assert ward.runs() == [REFUSED, ("queued", None, False, 4)]
    with ward.database.read() as session:
        study = session.scalars(select(StudyRow).order_by(StudyRow.seq.desc())).first()
        assert [one.patient_id for one in patients_of(session, ward.vault, study)] == ["P-3"]


def test_instances_that_were_moved_to_another_study_are_dropped(ward):
    ward.send(*of_two())
    ward.send(*of_two()[:2])
    assert ward.runs() == [REFUSED, ("queued", None, False, 2)]
    ward.send(*of_two()[2:])  # a sender that does not know of the correction puts it in doubt again
    assert ward.row().fault == "several_patients"


def test_the_same_study_again_or_part_of_it_corrects_nothing(ward):
    ward.send(*of_two())
    ward.send(*of_two())
    ward.send(*of_two()[:1])
    ward.send(*slices(4, **ACCESSION)[2:3])
    assert ward.runs() == [("refused", "several_patients", False, 4)]


def test_what_is_corrected_before_it_was_looked_at_was_never_at_fault(ward):
    ward.take(*of_two())
    ward.send(*slices(4, **ACCESSION)[2:])
    assert ward.runs() == [("queued", None, False, 4)]


def test_wrong_pixels_are_dropped_where_the_right_ones_come_again_with_the_study(ward):
    right, wrong = slices(4), slices(4)[0]
    wrong.PixelData = bytes(len(wrong.PixelData))
    ward.send(wrong, *right)
    assert ward.runs() == [("refused", "inconsistent_study", False, 5)]
    ward.send(*right)
    assert ward.runs() == [("refused", "inconsistent_study", True, 5), ("queued", None, False, 4)]


def test_a_late_stranger_is_dropped_where_the_study_comes_again(ward):
    first = slices(4, **ACCESSION)
    ward.send(*first)
    stranger = slices(1, series="late", PatientID="P-2")
    ward.send(*stranger)
    assert ward.row().fault == "several_patients"
    ward.send(*first)
    assert (ward.row().fault, ward.row().late_study_id) == (None, None)
    assert ward.runs()[-1] == ("queued", None, False, 4)


def test_it_is_found_by_study_accession_and_each_patient_and_names_both(ward):
    ward.send(*of_two())
    with ward.database.read() as session:
        study = session.scalars(select(StudyRow)).one()
        sought = {"study_uid": "1.2.3", "accession_number": "A-7"}
        found = [session.scalars(ward.vault.find(kind, text)).all() for kind, text in sought.items()]
        found += [session.scalars(ward.vault.find("patient_id", text)).all() for text in ("P-1", "p-2 ")]
        assert found == [[study.id]] * 4
        named = [(one.patient_id, one.name, one.birth_date) for one in patients_of(session, ward.vault, study)]
        assert named == [("P-1", "Doe^Jane", "19700102"), ("P-2", "Roe^Richard", "19700102")]
        assert "Doe" not in json.dumps(study.refusal)


@pytest.mark.parametrize("kind", [Kind.SR, Kind.PDF, Kind.SC])
def test_nothing_is_filed_for_either_of_two_patients(ward, kind):
    ward.send(*of_two())
    with ward.database.read() as session:
        run_id = session.scalars(select(RunRow.id)).one()
    with pytest.raises(ReportUnavailableError, match="several_patients"):
        ReportLibrary(ward).content(run_id, kind)
    assert len(ReportLibrary(ward).facts(run_id).patients) == 2
