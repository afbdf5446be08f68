"""Two living couriers and one study: a lease runs out where the machine is slow, and nobody was lost."""

import uuid
from pathlib import Path

import pytest

from med3d_contract.results import Priority
from med3d_service.processes.api import compose
from med3d_service.runs.bundles import register_bundles
from med3d_service.runs.starting import start_run
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow, UploadRow
from med3d_service.studies.working_copy.courier import MAX_TRIES
from med3d_service.studies.working_copy.holding import Hold, OvertakenError
from med3d_service.studies.working_copy.messages import Finding, Report
from rig.processes.waiting import wait_until
from rig.service.couriers import courier_of
from rig.service.parts import add_study, migrated
from rig.service.work import BUNDLE


class Sandbox:
    """Does as it is told while a study is in its hands, then says what it found."""

    def __init__(self, finding=Finding.COPIED, meanwhile=lambda _job: None, words=b"the copy"):
        self.finding, self.meanwhile, self.words = finding, meanwhile, words
        self.targets = []

    def run(self, job, while_waiting):
        self.targets.append(Path(job.target))
        Path(job.target).write_bytes(self.words)
        self.meanwhile(job)
        return Report(finding=self.finding, skipped=0)

    def prepare(self):
        """Nothing to do."""


@pytest.fixture
def service(tmp_path):
    made = compose(migrated(tmp_path))
    with made.database.write() as session:
        register_bundles(session, [BUNDLE])
        study = session.query(StudyRow).where(StudyRow.id == add_study(session, "waiting")).one()
        session.add(UploadRow(id=str(uuid.uuid4()), study_id=study.id, key="x", sha256="0" * 64, stored_bytes=1))
        start_run(session, study, session.get_one(BundleRow, BUNDLE.digest), priority=Priority.ROUTINE)
    yield made
    made.close()


def let_lease_end(service):
    with service.database.write() as session:
        session.query(StudyRow).one().working_lease_until = 0.0


def seen(service):
    with service.database.read() as session:
        return session.query(StudyRow).one(), session.query(RunRow).one()


def overtaken_by(service, other):
    """What happens while the first works: its lease ends, and another courier takes the study and finishes."""

    def happen(_job):
        let_lease_end(service)
        assert other.copy_next()

    return happen


@pytest.mark.parametrize("first", [Finding.COPIED, Finding.UNREADABLE_FILE, Finding.ORIGINAL_DAMAGED])
def test_who_was_overtaken_says_nothing_about_the_study_that_another_has_copied(service, first):
    other = Sandbox(words=b"the copy of the other")
    slow = Sandbox(first, overtaken_by(service, courier_of(service, other)))
    assert courier_of(service, slow).copy_next()
    study, run = seen(service)
    assert (study.working_status, study.refusal, run.status) == (CopyStatus.READY, None, "queued")
    assert service.store.get(study.working_key, study.working_sha256) == b"the copy of the other"


@pytest.mark.parametrize("first", [Finding.COPIED, Finding.UNREADABLE_FILE])
def test_who_was_overtaken_says_nothing_while_another_still_works(service, first):
    taken = []

    def take(_job):
        let_lease_end(service)
        taken.append(courier_of(service, Sandbox())._claim())

    courier_of(service, Sandbox(first, take)).copy_next()
    study, run = seen(service)
    assert (study.working_status, study.refusal, run.status) == (CopyStatus.COPYING, None, "queued")
    assert list(service.store.list("working")) == []
    assert courier_of(service, Sandbox())._renew(taken[0]), "it is still in the hands of the other"


def test_couriers_that_live_use_up_no_tries_however_often_they_overtake_each_other(service):
    courier = courier_of(service, Sandbox())
    holder = courier._claim()
    for _ in range(MAX_TRIES + 2):
        let_lease_end(service)
        taken = courier_of(service, Sandbox())._claim()
        assert taken is not None, "a good study was refused"
        assert not courier._renew(holder)
        courier._let_go(holder)
        holder = taken
    assert seen(service)[0].working_tries == 1


def test_who_lives_gives_the_try_back_that_its_lease_cost(service):
    slow = Sandbox(meanwhile=lambda _job: (let_lease_end(service), courier_of(service, Sandbox())._claim()))
    courier_of(service, slow).copy_next()
    assert seen(service)[0].working_tries == 1, "the other's alone"


def test_two_couriers_on_one_machine_do_not_write_or_remove_each_others_files(service):
    other = Sandbox()
    slow = Sandbox(meanwhile=overtaken_by(service, courier_of(service, other)))
    courier_of(service, slow).copy_next()
    assert set(slow.targets).isdisjoint(other.targets)
    assert list(service.settings.spool_dir.iterdir()) == []


def test_what_a_killed_courier_left_in_the_spool_goes_when_its_study_is_taken_again(service):
    study_id = seen(service)[0].id
    spool = service.settings.spool_dir
    (spool / f"{study_id}.1.working").write_bytes(b"half")
    (spool / f"{study_id}.1.originals").mkdir()
    (spool / f"{study_id}.1.originals" / "x").write_bytes(b"half")
    courier_of(service, Sandbox()).copy_next()
    assert list(spool.iterdir()) == []


def test_the_number_of_a_claim_is_never_given_twice(service):
    numbers = []
    for _ in range(3):
        courier = courier_of(service, Sandbox())
        study = courier._claim()
        numbers.append(study.claim)
        courier._give_back(study)
    assert numbers == sorted(set(numbers))
    assert seen(service)[0].working_tries == 0


class SlowStore:
    """A store that takes a copy only when the lease has been renewed meanwhile."""

    def __init__(self, store, service):
        self._store, self._service = store, service

    def local_path(self, key):
        return self._store.local_path(key)

    def put_file(self, key, path):
        before = seen(self._service)[0].working_lease_until
        wait_until(lambda: seen(self._service)[0].working_lease_until > before, "the lease's renewal")
        return self._store.put_file(key, path)


def test_a_lease_is_renewed_while_the_store_is_slow(service, tmp_path):
    slow = service.settings.model_copy(update={"lease_s": 0.4})
    courier = courier_of(service, Sandbox())
    courier._settings, courier._store = slow, SlowStore(service.store, service)
    assert courier.copy_next()
    assert seen(service)[0].working_status == CopyStatus.READY


def test_a_hold_tells_who_has_lost_it_and_outlives_a_database_that_is_away():
    said = iter([True, OSError("away"), False])

    def renew():
        answer = next(said)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Hold(renew, every_s=0.001) as hold:
        hold.check()
        wait_until(lambda: hold.is_lost, "the loss")
        with pytest.raises(OvertakenError):
            hold.check()
