"""What the scanner calls its series: kept with the identifiers, for reports that may name it, never in the working copy."""

import io
import json
import tarfile

from sqlalchemy import select

from med3d_service.storage.tables import StudyRow
from med3d_service.studies.working_copy.courier import sandbox_of
from rig.service.arriving import Intake, slices
from rig.service.couriers import courier_of

NAME = "t1 of Doe, Jane"


def test_descriptions_are_kept_by_number_where_they_agree(tmp_path):
    intake = Intake(tmp_path)
    courier = courier_of(intake, sandbox_of(intake.settings))
    try:
        intake.take(
            *slices(
                3, series="t1", SeriesNumber=19, SeriesDescription=NAME, StudyDescription="MR head", PatientAge="049Y"
            ),
            *slices(2, series="a", SeriesNumber=3, SeriesDescription="scout"),
            *slices(2, series="b", SeriesNumber=3, SeriesDescription="another"),
        )
        intake.arrivals.mark_complete("default", "1.2.3")
        assert courier.copy_next()
        with intake.database.read() as session:
            study = session.scalars(select(StudyRow)).one()
            attributes = json.loads(intake.vault.read(session, study.id, "study_attributes"))
            assert attributes.items() >= {"study_description": "MR head", "patient_age": "049Y"}.items()
            assert json.loads(intake.vault.read(session, study.id, "series_descriptions")) == {"19": NAME}
        copy = io.BytesIO(intake.store.get(study.working_key))
    finally:
        courier.sandbox.close()
        intake.database.close()
    with tarfile.open(fileobj=copy) as tar:
        assert all(b"Jane" not in tar.extractfile(member).read() for member in tar)
