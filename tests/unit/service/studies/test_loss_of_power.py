"""The power may go at any fsync: what was acknowledged is there afterwards, whole, and what a row refers to is in the store."""

import random
import shutil
import uuid
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from med3d_service.custody.ledger import Ledger
from med3d_service.network.pulls.underway import is_being_pulled
from med3d_service.runs.bundles import register_bundles
from med3d_service.settings import Settings
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.opening import open_database
from med3d_service.studies.arrivals.arrivals import Arrivals
from med3d_service.studies.arrivals.routing import EVERY_MR
from med3d_service.studies.arrivals.settling import Settling
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import Limits, Meter
from med3d_service.studies.uploads.recording import StudyRecorder
from med3d_service.trust.audit import AuditTrail
from med3d_store.object_store import ObjectMissingError, ObjectStore, StoreChangedError
from rig.dicom.uploads import CONTENT_TYPE, dicom_files, files_form, named, zip_of
from rig.faults.forgetful_disk import ForgetfulDisk, PowerLostError
from rig.service.arriving import SOURCE, saved, slices
from rig.service.parts import migrated
from rig.service.work import BUNDLE

NUMBERS = st.integers(0, 5)
MOMENTS = st.integers(0, 12)


class Service:
    """What keeps studies, as it is after a start."""

    def __init__(self, data_dir, disk):
        self.settings = Settings(data_dir=data_dir, store_url=f"file://{disk.top}/store")
        keys = load_keys(self.settings)
        self.database = open_database(self.settings)
        self.store = ObjectStore.make(self.settings.store, sync=disk.sync)
        vault = IdentifierVault(keys)
        self.recorder = StudyRecorder(self.database, self.store, vault)
        trail = AuditTrail(self.database, keys.audit)
        settling = Settling(self.settings, self.database, vault, trail, is_being_pulled())
        self.arrivals = Arrivals(self.settings, keys.originals, self.database, self.store, vault, EVERY_MR, settling)
        self._key = keys.originals
        with self.database.write() as session:
            register_bundles(session, [BUNDLE])

    def post(self, number):
        form = StudyForm(CONTENT_TYPE, self.settings.spool_dir, self._key, "default", Meter(Limits.of(self.settings)))
        form.write(files_form(("study.zip", zip_of(named(dicom_files(series=f"posted-{number}"))))))
        return self.recorder.record("default", *form.finish()).study_id

    def arrive(self, number):
        (dataset,) = slices(1, series=f"arrived-{number}", StudyInstanceUID=f"1.2.{number}")
        return self.arrivals.receive_instance(saved(dataset), SOURCE).outcome


class Days(RuleBasedStateMachine):
    """Studies come by both ways and answers are stored, until the power goes: within something, or between two."""

    folder = template = service = None

    @initialize()
    def begin(self):
        here = self.folder / uuid.uuid4().hex
        shutil.copytree(self.template, here / "data")
        self.data_dir, self.disk = here / "data", ForgetfulDisk(here / "disk")
        self.service = Service(self.data_dir, self.disk)
        self.answers, self.posted, self.arrived = {}, set(), set()

    @rule(number=NUMBERS)
    def post(self, number):
        self.service.post(number)
        self.posted.add(number)

    @rule(number=NUMBERS)
    def arrive(self, number):
        self.service.arrive(number)
        self.arrived.add(number)

    @rule(number=NUMBERS, data=st.binary(max_size=20))
    def store_answer(self, number, data):
        self.service.store.put(f"results/run-{number}/1.json", data)
        self.answers[number] = data

    @rule(what=st.sampled_from(["post", "arrive", "store_answer"]), number=NUMBERS, syncs=MOMENTS, seed=st.integers())
    def lose_power_within(self, what, number, syncs, seed):
        self.disk.syncs_left = syncs
        with suppress(PowerLostError):
            more = (f"new-{seed}".encode(),) if what == "store_answer" else ()
            if more:
                self.answers.pop(number, None)  # the old one or the new one: both were given
            getattr(self, what)(number, *more)
        self._start_again(seed)

    @rule(seed=st.integers())
    def lose_power_between(self, seed):
        self._start_again(seed)

    def _start_again(self, seed):
        self.service.database.close()
        self.disk.lose_power(random.Random(seed))
        self.service = Service(self.data_dir, self.disk)
        report = Ledger(self.service.settings, self.service.database, self.service.store).check(digests=True)
        assert report.balances, report.findings
        for number, data in self.answers.items():
            assert self.service.store.get(f"results/run-{number}/1.json") == data
        known = report.studies
        for number in self.posted:
            self.service.post(number)
        for number in self.arrived:
            assert self.service.arrive(number) == "known", f"instance {number} had been acknowledged"
        again = Ledger(self.service.settings, self.service.database, self.service.store).check(digests=True)
        assert (again.studies, again.balances) == (known, True), "a study that had been acknowledged was new"

    def teardown(self):
        if self.service is None:
            return
        self.service.arrivals.close()
        self.service.database.close()
        shutil.rmtree(self.data_dir.parent)


def test_what_was_acknowledged_outlives_a_loss_of_power(tmp_path):
    template = tmp_path / "template"
    load_keys(migrated(template))

    class DaysHere(Days):
        pass

    DaysHere.folder, DaysHere.template = tmp_path, template
    run_state_machine_as_test(
        DaysHere,
        settings=settings(
            max_examples=8, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_disk_of_this_test_does_forget(tmp_path):
    kept = 0
    for seed in range(8):
        disk = ForgetfulDisk(tmp_path / str(seed))
        store = ObjectStore.make(f"file://{disk.top}/store", sync=lambda _path: None)
        store.put("results/1.json", b"an answer")
        disk.lose_power(random.Random(seed))
        with suppress(ObjectMissingError, StoreChangedError):
            kept += store.get("results/1.json") == b"an answer"
    assert kept < 8


@pytest.mark.parametrize("syncs", range(8))
def test_an_object_is_whole_or_absent_whenever_the_power_goes(tmp_path, syncs):
    for seed in range(6):
        disk = ForgetfulDisk(tmp_path / str(seed))
        store = ObjectStore.make(f"file://{disk.top}/store", sync=disk.sync)
        disk.syncs_left = syncs
        acknowledged = False
        with suppress(PowerLostError):
            store.put("working/study.tar", b"copy")
            acknowledged = True
        disk.lose_power(random.Random(seed))
        again = ObjectStore.make(f"file://{disk.top}/store")
        if acknowledged or again.head("working/study.tar") is not None:
            assert again.get("working/study.tar") == b"copy"
