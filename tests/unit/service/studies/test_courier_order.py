"""Which working copy is made next, and whose word counts where more of a study comes meanwhile."""

import uuid
from pathlib import Path

import pytest

from med3d_contract.results import Priority
from med3d_service.processes.api import compose
from med3d_service.runs.bundles import register_bundles
from med3d_service.runs.starting import start_run
from med3d_service.storage.copy_states import ANY, TO_BE_COPIED, CopyStatus, move_copy
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow, UploadRow
from med3d_service.studies.working_copy.messages import Finding, Report
from rig.service.couriers import courier_of
from rig.service.parts import add_study, migrated
from rig.service.work import BUNDLE


class RefusingSandbox:
    """Finds no image in anything."""

    def run(self, job, on_wait):
        return Report(finding=Finding.NO_IMAGES, skipped=0)

    def prepare(self):
        """Nothing to do."""


@pytest.fixture
def service(tmp_path):
    made = compose(migrated(tmp_path))
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

    courier = courier_of(service, RefusingSandbox())
    order = []
    while courier.copy_next():
        with service.database.read() as session:
            order += [
                s.id for s in session.query(StudyRow).where(StudyRow.working_status == "refused") if s.id not in order
            ]
    assert [ids.index(study_id) for study_id in order] == [4, 2, 1, 0, 3]


class OvertakenSandbox(RefusingSandbox):
    """While it works more of the study comes, and another courier takes that up."""

    def __init__(self, database, finding):
        self._database, self._finding = database, finding

    def run(self, job, on_wait):
        with self._database.write() as session:
            study = session.query(StudyRow).one()
            assert move_copy(session, study.id, ANY, CopyStatus.WAITING, digest="e" * 64)
            assert move_copy(session, study.id, TO_BE_COPIED, CopyStatus.COPYING)
        on_wait()
        Path(job.target).write_bytes(b"the study as it was")
        return Report(finding=self._finding, skipped=3)


@pytest.mark.parametrize("finding", [Finding.COPIED, Finding.NO_IMAGES])
def test_a_courier_that_was_overtaken_neither_gives_its_copy_out_nor_refuses_the_study(service, finding):
    with service.database.write() as session:
        register_bundles(session, [BUNDLE])
        study = session.query(StudyRow).where(StudyRow.id == add_study(session, "waiting")).one()
        session.add(UploadRow(id=str(uuid.uuid4()), study_id=study.id, key="x", sha256="0" * 64, stored_bytes=1))
        start_run(session, study, session.get_one(BundleRow, BUNDLE.digest), priority=Priority.ROUTINE)
    courier_of(service, OvertakenSandbox(service.database, finding)).copy_next()
    with service.database.read() as session:
        study, run = session.query(StudyRow).one(), session.query(RunRow).one()
    assert (study.working_status, study.digest, study.refusal) == (CopyStatus.COPYING, "e" * 64, None)
    assert (study.skipped_files, run.status) == (0, "queued")
    assert list(service.store.list("working")) == [], "what the other courier stores is not written over"
