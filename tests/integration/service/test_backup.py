"""Backups: made beside the service, restored on an empty machine, where every result and every digest is found again."""

import hashlib
import json
import shutil
import threading
from contextlib import closing

import pytest
from sqlalchemy import MetaData, select
from typer.testing import CliRunner

from med3d_cli.main import make_app
from med3d_service.custody.backup import BackupArchive, BackupError, back_up, put_back_objects, restore
from med3d_service.custody.ledger import Ledger
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.opening import open_database
from med3d_service.trust.access import Grant, Role
from med3d_service.trust.access.api_keys import create_key, find_key, revoke_key
from med3d_store.object_store import ObjectStore
from rig.processes.service import new_database
from rig.service.arriving import slices
from rig.service.examination_day import ExaminationDay
from rig.service.parts import migrated

T1, SCOUT = slices(4, series="t1"), slices(2, series="scout")


class Machine:
    """A data folder and a database of its own; ``day`` is what happened on it."""

    def __init__(self, folder, database_url):
        self.settings = Settings(data_dir=folder, database_url=database_url)
        self.given = {} if database_url is None else {"database_url": database_url}

    def live_a_day(self):
        self.day = ExaminationDay(self.settings.data_dir, **self.given)
        self.day.arrive(*T1)
        self.day.copy()
        self.day.work(finds_t1=True)
        return self

    def content(self):
        """Every row of every table, and every object with its digest."""
        database, found = Database(self.settings.database), MetaData()
        with database.engine.connect() as connection:
            found.reflect(connection)
            rows = {
                table.name: sorted(map(repr, connection.execute(select(table)).all()))
                for table in found.sorted_tables
                if table.name != "ledger_checks"
            }
        database.close()
        store = ObjectStore.open(self.settings.store)
        rows.pop("store_identity")  # the store on another machine is another one
        rows.pop("audit_head")
        self.trail = rows.pop("audit_trail")  # it goes on with the restore
        objects = {one.key: store.get(one.key) for one in store.list() if one.size_bytes}
        return rows, objects

    def balances(self):
        database = Database(self.settings.database)
        report = Ledger(self.settings, database, ObjectStore.open(self.settings.store)).check(digests=True)
        database.close()
        return report.balances


@pytest.fixture(params=["sqlite", "postgresql"])
def new_machine(request, tmp_path):
    made = []

    def make(name):
        url = None if request.param == "sqlite" else new_database(request.getfixturevalue("postgresql_url"))
        made.append(Machine(tmp_path / name, url))
        return made[-1]

    yield make
    for machine in made:
        if hasattr(machine, "day"):
            machine.day.intake.arrivals.close()
            machine.day.intake.database.close()


def bring_the_keys(old, new):
    new.settings.data_dir.mkdir(exist_ok=True)
    shutil.copy(old.settings.data_dir / "site.key", new.settings.data_dir)


def test_a_restore_on_an_empty_machine_finds_every_result_and_every_digest(new_machine, tmp_path):
    old, new = new_machine("old").live_a_day(), new_machine("new")
    _, summary = back_up(old.settings, tmp_path / "backups")
    assert summary.is_complete
    assert summary.objects >= len(T1)
    bring_the_keys(old, new)
    restore(new.settings, tmp_path / "backups")
    assert new.content() == old.content()
    assert new.trail[: len(old.trail)] == old.trail
    assert [("'restore'" in row) for row in new.trail[len(old.trail) :]] == [True]
    assert new.balances()
    new.day = ExaminationDay(new.settings.data_dir, **new.given)
    assert new.day.statuses() == ["completed"]
    new.day.arrive(*SCOUT)  # numbers go on where they were
    assert len(new.day.studies()) == 2


def test_a_second_backup_copies_what_is_new_and_both_can_be_restored(new_machine, tmp_path):
    old, new = new_machine("old").live_a_day(), new_machine("new")
    first, whole = back_up(old.settings, tmp_path / "backups")
    content = old.content()
    _, again = back_up(old.settings, tmp_path / "backups")
    assert (again.objects, again.copied_objects) == (whole.objects, 0)
    old.day.arrive(*SCOUT)
    _, more = back_up(old.settings, tmp_path / "backups")
    assert 0 < more.copied_objects < more.objects
    bring_the_keys(old, new)
    restore(new.settings, tmp_path / "backups", first)
    assert new.content() == content


def test_a_backup_that_is_made_while_instances_arrive_is_one_consistent_state(new_machine, tmp_path):
    old = new_machine("old").live_a_day()
    stop = threading.Event()

    def arrive():
        for number in range(200):
            if stop.is_set():
                return
            old.day.intake.take(*slices(2, series=f"s{number}", StudyInstanceUID=f"1.2.{number + 5}"))

    sender = threading.Thread(target=arrive)
    sender.start()
    _, summary = back_up(old.settings, tmp_path / "backups")
    stop.set()
    sender.join()
    assert summary.is_complete
    new = new_machine("new")
    bring_the_keys(old, new)
    restore(new.settings, tmp_path / "backups")
    assert new.balances()


@pytest.fixture
def sqlite_machine(tmp_path):
    machine = Machine(tmp_path / "old", None).live_a_day()
    yield machine
    machine.day.intake.arrivals.close()
    machine.day.intake.database.close()


def test_without_the_site_key_nothing_is_restored_and_none_is_made(sqlite_machine, tmp_path):
    back_up(sqlite_machine.settings, tmp_path / "backups")
    new = Machine(tmp_path / "new", None)
    with pytest.raises(BackupError, match=r"copy it to .*site\.key"):
        restore(new.settings, tmp_path / "backups")
    assert not (tmp_path / "new" / "site.key").exists()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "site.key").write_text("ab" * 32)
    with pytest.raises(BackupError, match="not the site key"):
        restore(new.settings, tmp_path / "backups")


def test_keys_are_in_no_backup(sqlite_machine, tmp_path):
    back_up(sqlite_machine.settings, tmp_path / "backups")
    secret = (sqlite_machine.settings.data_dir / "site.key").read_text().strip()
    files = [path for path in (tmp_path / "backups").rglob("*") if path.is_file()]
    assert files
    assert not [
        path for path in files if secret.encode() in path.read_bytes() or bytes.fromhex(secret) in path.read_bytes()
    ]


def test_a_database_is_never_overwritten(sqlite_machine, tmp_path):
    back_up(sqlite_machine.settings, tmp_path / "backups")
    with pytest.raises(BackupError, match="there is a database"):
        restore(sqlite_machine.settings, tmp_path / "backups")


def test_a_damaged_backup_says_so_and_leaves_no_database(sqlite_machine, tmp_path):
    back_up(sqlite_machine.settings, tmp_path / "backups")
    damaged = max((tmp_path / "backups" / "objects").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    damaged.write_bytes(damaged.read_bytes()[:-1])
    new = Machine(tmp_path / "new", None)
    bring_the_keys(sqlite_machine, new)
    with pytest.raises(BackupError, match="damaged"):
        restore(new.settings, tmp_path / "backups")
    assert not (tmp_path / "new" / "med3d.sqlite").exists()


def test_an_object_that_the_store_has_lost_is_told_by_the_backup(sqlite_machine, tmp_path):
    store = sqlite_machine.day.intake.store
    lost = next(one.key for one in store.list("originals") if one.size_bytes)
    store.delete(lost)
    _, summary = back_up(sqlite_machine.settings, tmp_path / "backups")
    assert summary.missing == (lost,)


def test_what_the_store_has_lost_is_put_back_from_the_backup_that_holds_it(new_machine, tmp_path):
    machine = new_machine("old").live_a_day()
    back_up(machine.settings, tmp_path / "backups")
    before = machine.content()
    machine.day.arrive(*SCOUT)
    back_up(machine.settings, tmp_path / "backups")
    store = machine.day.intake.store
    lost, altered, *_ = sorted(before[1].keys() & {one.key for one in store.list("originals")})
    store.delete(lost)
    store.put(altered, b"something else")
    assert not machine.balances()
    done = put_back_objects(machine.settings, tmp_path / "backups")
    assert (done.objects, done.in_no_backup) == (2, ())
    assert machine.balances()
    assert {key: data for key, data in machine.content()[1].items() if key in before[1]} == before[1]
    assert put_back_objects(machine.settings, tmp_path / "backups").objects == 0


def test_what_no_backup_holds_is_named(sqlite_machine, tmp_path):
    back_up(sqlite_machine.settings, tmp_path / "backups")
    sqlite_machine.day.arrive(*SCOUT)
    store = sqlite_machine.day.intake.store
    held = {path.name for path in (tmp_path / "backups" / "objects").rglob("*")}
    lost = next(
        one.key for one in store.list("originals") if hashlib.sha256(store.get(one.key)).hexdigest() not in held
    )
    store.delete(lost)
    assert put_back_objects(sqlite_machine.settings, tmp_path / "backups").in_no_backup == (lost,)


def test_what_a_killed_backup_left_is_no_backup_and_is_removed_by_the_next(sqlite_machine, tmp_path):
    archive = BackupArchive(tmp_path / "backups")
    (archive.root / "backups" / ".partial-x").mkdir(parents=True)
    (archive.root / "objects").mkdir()
    (archive.root / "objects" / ".partial-y").write_bytes(b"half")
    assert archive.names() == []
    back_up(sqlite_machine.settings, archive.root)
    assert len(archive.names()) == 1
    assert not list(archive.root.rglob(".partial-*"))


def test_the_commands_back_up_and_restore_and_check_the_ledger(sqlite_machine, tmp_path):
    def med3d(*words):
        done = CliRunner().invoke(make_app(), list(words))
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    folder, new = str(tmp_path / "backups"), Machine(tmp_path / "new", None)
    assert "objects" in med3d("backup", folder, "--data-dir", str(sqlite_machine.settings.data_dir))
    bring_the_keys(sqlite_machine, new)
    assert "The ledger balances" in med3d("restore", folder, "--data-dir", str(tmp_path / "new"))
    lost = json.loads(med3d("restore", folder, "--data-dir", str(tmp_path / "new"), "--objects", "--json"))
    assert lost == {"objects": 0, "in_no_backup": []}
    again = Machine(tmp_path / "again", None)
    bring_the_keys(sqlite_machine, again)
    told = json.loads(med3d("restore", folder, "--data-dir", str(tmp_path / "again"), "--json"))
    assert told["ledger"]["studies"] == 1
    assert told["summary"]["objects"] > 0
    assert told["keys"].keys() == {"working", "kept_ended", "counter_was_here"}
    for place in (tmp_path / "backups", tmp_path / "again"):
        assert not [path for path in place.rglob("*") if path.stat().st_mode & 0o077]


def test_a_key_that_was_revoked_after_the_backup_stays_so_where_the_sealed_counter_is_brought_along(tmp_path):
    old, new, bare = (Machine(tmp_path / name, None) for name in ("old", "new", "bare"))
    migrated(old.settings.data_dir)
    with closing(open_database(old.settings)) as database:
        with database.write() as session:
            kept, revoked = (create_key(session, Grant(Role.VIEWER)) for _ in range(2))
        back_up(old.settings, tmp_path / "backups")
        with database.write() as session:
            revoke_key(session, revoked.prefix)
    for machine in (new, bare):
        bring_the_keys(old, machine)
    shutil.copy(old.settings.data_dir / "trust.sealed", new.settings.data_dir)
    told = restore(new.settings, tmp_path / "backups").revived
    assert (told.kept_ended, told.working, told.counter_was_here) == ((revoked.prefix,), (kept.prefix,), True)
    told = restore(bare.settings, tmp_path / "backups").revived
    assert (set(told.working), told.counter_was_here) == ({kept.prefix, revoked.prefix}, False)
    with closing(open_database(new.settings)) as database:
        assert find_key(database, kept.text) is not None
        assert find_key(database, revoked.text) is None
