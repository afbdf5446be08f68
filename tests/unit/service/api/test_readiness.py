"""/readyz is looked at now and then, not as often as somebody asks, and knows whether the store is the store."""

import shutil
import threading

import pytest

from med3d_service.api.readiness import OK, STUCK_S, Probe, Readiness
from med3d_service.processes import migrate
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.store_identity import establish_store, record_store, recorded_identity
from med3d_service.storage.tables import StoreIdentityRow
from med3d_store.object_store import ObjectStore
from rig.service.api import open_api

READY = Readiness(ready=True, database=OK, broker=OK, store=OK, worker=OK)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path, ready_fresh_s=0)
    yield made
    made.close()


def store_check(api):
    return api.request("GET", "/readyz").json()["store"]


def folder_of(api):
    return api.settings.data_dir / "store"


def test_a_thousand_questions_are_one_look():
    clock, looks = Clock(), []
    probe = Probe(lambda: looks.append(1) or READY, 2.0, clock)
    for _ in range(1000):
        assert probe.readiness() is READY
    assert len(looks) == 1
    clock.now = 2.0
    probe.readiness()
    assert len(looks) == 2


def test_who_asks_while_somebody_looks_gets_what_was_seen_and_in_the_end_that_it_is_stuck():
    clock, looking, go_on = Clock(), threading.Event(), threading.Event()
    looks = iter([lambda: True, lambda: looking.set() or go_on.wait(60)])
    probe = Probe(lambda: next(looks)() and READY, 2.0, clock)
    assert probe.readiness().ready
    clock.now = 3.0
    slow = threading.Thread(target=probe.readiness)
    slow.start()
    assert looking.wait(60)
    assert probe.readiness().ready, "it does not wait"
    clock.now = 3.0 + STUCK_S
    stuck = probe.readiness()
    assert (stuck.ready, stuck.store.ok) == (False, False)
    go_on.set()
    slow.join()
    assert probe.readiness().ready


def test_a_store_folder_that_vanished_is_not_ready_and_not_made_anew(api):
    assert store_check(api) == {"ok": True, "why": None}
    shutil.rmtree(folder_of(api))
    assert store_check(api)["ok"] is False
    assert "StoreChangedError" in store_check(api)["why"]
    migrate(api.settings)  # a restart
    assert not folder_of(api).exists()
    assert store_check(api)["ok"] is False


def test_another_store_in_its_place_is_not_ready(api):
    folder_of(api).rename(api.settings.data_dir / "elsewhere")
    ObjectStore.make(api.settings.store)
    assert store_check(api)["ok"] is False
    shutil.rmtree(folder_of(api))
    (api.settings.data_dir / "elsewhere").rename(folder_of(api))
    assert store_check(api)["ok"] is True


def test_whoever_restores_lets_the_database_belong_to_the_new_store(api):
    shutil.rmtree(folder_of(api))
    record_store(ObjectStore.make(api.settings.store), api.service.database)
    api.app.state.service.store._identity = ""  # a process that was started anew
    assert store_check(api)["ok"] is True


def test_the_store_of_a_release_without_markers_is_taken_where_it_holds_something(tmp_path):
    api = open_api(tmp_path)
    database = api.service.database
    with database.write() as session:
        session.query(StoreIdentityRow).delete()
    (folder_of(api) / "store.id").unlink()
    (folder_of(api) / "working").mkdir()
    (folder_of(api) / "working" / "x.tar").write_bytes(b"x")
    establish_store(api.settings, database)
    assert recorded_identity(database) == ObjectStore.open(api.settings.store).identity()
    api.close()


def test_a_database_with_studies_is_not_given_an_empty_store(tmp_path):
    api = open_api(tmp_path)
    database = api.service.database
    with database.write() as session:
        session.query(StoreIdentityRow).delete()
    for left in ("an empty folder", "nothing"):
        shutil.rmtree(folder_of(api))
        if left == "an empty folder":
            folder_of(api).mkdir()
        with pytest.raises(ValueError, match="mount it"):
            establish_store(api.settings, database)
        assert not (folder_of(api) / "store.id").exists()
        folder_of(api).mkdir(exist_ok=True)
    api.close()


def test_the_first_start_makes_the_store(tmp_path):
    settings = Settings(data_dir=tmp_path / "data")
    migrate(settings)
    database = Database(settings.database)
    assert recorded_identity(database) == ObjectStore.open(settings.store).identity()
    database.close()
