"""Which working copy is made next."""

import uuid

import pytest

from factories.service import add_study, migrated
from factories.work import BUNDLE
from med3d_contract.results import Priority
from med3d_service.bundles import register_bundles
from med3d_service.composition import Service
from med3d_service.runs.starting import start_run
from med3d_service.tables import BundleRow, StudyRow, UploadRow
from med3d_service.working_copy.courier import Courier
from med3d_service.working_copy.messages import Finding, Report


class RefusingSandbox:
    """Finds no image in anything."""

    def run(self, job, on_wait):
        return Report(finding=Finding.NO_IMAGES, skipped=0)

    def prepare(self):
        """Nothing to do."""


@pytest.fixture
def service(tmp_path):
    made = Service.compose(migrated(tmp_path))
    yield made
    made.close()


def test_a_stat_studys_copy_is_made_before_those_of_a_cohort_that_came_earlier(service):
    with service.database.write() as session:
        register_bundles(session, [BUNDLE])
        bundle = session.get_one(BundleRow, BUNDLE.digest)
        studies = [session.query(StudyRow).where(StudyRow.id == add_study(session, "waiting")).one() for _ in range(5)]
        for study in studies:
            session.add(UploadRow(id=str(uuid.uuid4()), study_id=study.id, key="x", sha256="0" * 64, stored_bytes=1))
        start_run(session, studies[1], bundle, priority=Priority.COHORT)
        start_run(session, studies[2], bundle, priority=Priority.COHORT)
        start_run(session, studies[2], bundle, priority=Priority.ROUTINE)  # somebody asks for it by day
        start_run(session, studies[4], bundle, priority=Priority.STAT)
        ids = [study.id for study in studies]

    courier = Courier(service, RefusingSandbox())
    order = []
    while courier.copy_next():
        with service.database.read() as session:
            order += [
                s.id for s in session.query(StudyRow).where(StudyRow.working_status == "refused") if s.id not in order
            ]
    assert [ids.index(study_id) for study_id in order] == [4, 2, 1, 0, 3]
