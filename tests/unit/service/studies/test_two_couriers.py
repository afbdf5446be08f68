"""Two living couriers and one study: a lease runs out where the machine is slow, and nobody was lost."""

import threading
import uuid
from pathlib import Path

import pytest

from med3d_contract.results import Priority
from med3d_service.custody.leftovers import Leftovers
from med3d_service.processes.api import compose
from med3d_service.runs.bundles import register_bundles
from med3d_service.runs.starting import start_run
from med3d_service.storage.copy_states import CopyStatus, move_copy
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow, UploadRow
from med3d_service.studies.working_copy.courier import MAX_TRIES
from med3d_service.studies.working_copy.holding import Hold, OvertakenError
from med3d_service.studies.working_copy.messages import Finding, Report
from med3d_service.studies.working_copy.trying import Try
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
    last = Sandbox()
    for _ in range(MAX_TRIES + 2):
        last = Sandbox(meanwhile=overtaken_by(service, courier_of(service, last)))
    assert courier_of(service, last).copy_next()
    assert seen(service)[0].working_status == CopyStatus.READY, "a good study was refused"


def test_who_lives_gives_the_try_back_that_its_lease_cost(service):
    slow = Sandbox(meanwhile=lambda _job: (let_lease_end(service), courier_of(service, Sandbox())._claim()))
    courier_of(service, slow).copy_next()
    assert seen(service)[0].working_tries == 0


def killed(_job):
    raise KilledError


class KilledError(BaseException):
    """What the courier's process would not live to see."""


def kill_couriers(service, times):
    """Couriers that die while their child parses."""
    for _ in range(times):
        with pytest.raises(KilledError):
            courier_of(service, Sandbox(meanwhile=killed)).copy_next()
        let_lease_end(service)


def test_who_sleeps_through_the_last_try_is_not_taken_for_lost(service):
    kill_couriers(service, MAX_TRIES - 1)
    taken = []

    def sleep(_job):
        let_lease_end(service)
        taken.append(courier_of(service, Sandbox())._claim())
        let_lease_end(service)
        courier_of(service, Sandbox()).copy_next()

    courier_of(service, Sandbox(meanwhile=sleep)).copy_next()
    study, run = seen(service)
    assert taken[0] is not None, "a study was refused whose courier lived"
    assert (study.working_status, study.refusal, run.status) == (CopyStatus.READY, None, "queued")


def test_who_was_killed_as_it_parsed_each_time_was_killed_by_the_files(service):
    kill_couriers(service, MAX_TRIES)
    assert seen(service)[0].working_status == CopyStatus.COPYING
    assert not courier_of(service, Sandbox()).copy_next()
    assert seen(service)[0].refusal["code"] == Finding.UNREADABLE_FILE


class DeadlyStore:
    """A store during whose work the courier is killed."""

    def __init__(self, store):
        self._store = store

    def local_path(self, key):
        return self._store.local_path(key)

    def put_file(self, key, path):
        raise KilledError


def test_who_is_killed_while_nothing_is_parsed_was_not_killed_by_the_files(service):
    for _ in range(MAX_TRIES + 1):
        courier = courier_of(service, Sandbox())
        courier._store = DeadlyStore(service.store)
        with pytest.raises(KilledError):
            courier.copy_next()
        let_lease_end(service)
    assert courier_of(service, Sandbox()).copy_next()
    assert seen(service)[0].working_status == CopyStatus.READY


class FrozenStore:
    """A store in whose put a courier freezes until another has copied the study with more images."""

    def __init__(self, service):
        self._service = service

    def local_path(self, key):
        return self._service.store.local_path(key)

    def put_file(self, key, path):
        read = path.read_bytes()
        with self._service.database.write() as session:
            move_copy(
                session, session.query(StudyRow).one().id, {CopyStatus.COPYING}, CopyStatus.WAITING, digest="e" * 64
            )
        assert courier_of(self._service, Sandbox(words=b"with more images")).copy_next()
        return self._service.store.put(key, read)


def test_who_wakes_in_a_put_does_not_write_over_the_newer_copy_and_its_own_is_removed(service):
    frozen = courier_of(service, Sandbox(words=b"as it was"))
    frozen._store = FrozenStore(service)
    frozen.copy_next()
    study, _ = seen(service)
    assert service.store.get(study.working_key, study.working_sha256) == b"with more images"
    at = [0.0]
    leftovers = Leftovers(service.settings, service.database, service.store, clock=lambda: at[0])
    leftovers.remove()
    assert len(list(service.store.list("working"))) == 2, "it may be read just now"
    at[0] = service.settings.leftover_s
    leftovers.remove()
    assert [found.key for found in service.store.list("working")] == [study.working_key]


@pytest.mark.parametrize("key", ["working/{id}.tar", "working/{id}.7.tar"])
def test_a_copy_that_is_read_or_may_be_committed_yet_is_no_leftover(service, key):
    study = seen(service)[0]
    key = key.format(id=study.id)
    service.store.put(key, b"the copy")
    with service.database.write() as session:
        row = session.query(StudyRow).one()
        row.working_claim, row.working_key = 7, None if "7" in key else key
    at = [0.0]
    leftovers = Leftovers(service.settings, service.database, service.store, clock=lambda: at[0])
    leftovers.remove()
    at[0] = 2 * service.settings.leftover_s
    leftovers.remove()
    assert service.store.head(key) is not None


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
        courier._give_back(study, Try(service.settings.spool_dir / "x"))
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
    said, overtaken = iter([True, OSError("away")]), threading.Event()

    def renew():
        answer = next(said, None)
        if isinstance(answer, Exception):
            raise answer
        return answer or not overtaken.wait(60)

    with Hold(renew, every_s=0.001) as hold:
        hold.check()
        overtaken.set()
        wait_until(lambda: hold.is_lost, "the loss")
        with pytest.raises(OvertakenError):
            hold.check()
