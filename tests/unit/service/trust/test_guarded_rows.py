"""Rows that grant or prove: what was written past the service, or an older state of it, opens nothing and is told."""

import ast
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update

import med3d_service
from med3d_contract.results import Verdict, VerdictRequest
from med3d_service.problems import ServiceError
from med3d_service.processes import migrate
from med3d_service.processes.composition import Essentials
from med3d_service.runs.bundles import find_bundle, make_default, register_bundles
from med3d_service.runs.calibrations import calibrations_for, withdraw_calibration
from med3d_service.runs.verdicts import give_verdict, standing_verdicts
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.sealed_counter import CounterBrokenError, Noted, SealedCounter
from med3d_service.storage.tables import ApiKeyRow, BundleRow, CalibrationRow, RunRow, StudyRow
from med3d_service.trust.access import Caller, Grant, Role
from med3d_service.trust.access.api_keys import create_key, find_key, revoke_key, rotate_key
from med3d_service.trust.access.sessions import Sessions, make_link
from med3d_service.trust.audit import Action, Actor, AuditEvent, TrailBrokenError
from med3d_service.trust.audit.tables import AuditHeadRow, AuditRow
from med3d_service.trust.establishing import (
    CounterMissingError,
    establish_trust,
    note_trail,
    prove_trail,
    renew_counter,
    require_counter,
    revive,
)
from rig.service.parts import add_run, migrated
from rig.service.work import BUNDLE

OTHER = BUNDLE.model_copy(update={"digest": "e" * 64, "version": "9.9"})
ADMIN = Caller("key", "k", Role.ADMIN, False, "default", True, "")


class House:
    """A service's parts, and hands that write to its database past it."""

    def __init__(self, folder):
        self.settings = migrated(folder)
        self.parts = Essentials.open(self.settings)
        self.database, self.guard, self.trail = self.parts.database, self.parts.database.guard, self.parts.trail
        self.past = Database(self.settings.database)

    def key(self, role=Role.VIEWER, **more):
        with self.database.write() as session:
            return create_key(session, Grant(role, site="here"), **more)

    def execute(self, statement, **values):
        with self.past.write_rows() as connection:
            return connection.execute(text(statement) if isinstance(statement, str) else statement, values).rowcount

    def row_of(self, key):
        with self.past.read() as session:
            row = session.get_one(ApiKeyRow, key.prefix)
            return {column.name: getattr(row, column.name) for column in ApiKeyRow.__table__.columns}

    def alerts(self):
        with self.past.read() as session:
            query = select(AuditRow.object_kind, AuditRow.object_id).where(AuditRow.action == "alert")
            return [tuple(row) for row in session.execute(query.order_by(AuditRow.seq))]

    def opens(self, key):
        return find_key(self.database, key.text) is not None

    def calibration(self, digest="ca" * 32):
        run_id = add_run(self.database)
        with self.database.write() as session:
            session.add(
                CalibrationRow(
                    digest=digest, owner="default", bundle_digest=BUNDLE.digest, site="Ward", heads=20,
                    created="2026-03-01", expires="2027-03-01", file=b"{}", signature=bytes(64), added_at=0.0,
                )
            )  # fmt: skip
        return run_id

    def used(self, run_id):
        with self.database.read() as session:
            run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
            study = session.scalars(select(StudyRow).where(StudyRow.id == run.study_id)).one()
            return calibrations_for(session, [run], {study.id: study})[0][run_id]

    def close(self):
        self.parts.close()
        self.past.close()


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.close()


# --- keys ---


@pytest.mark.parametrize(
    "change", ["role = 'admin'", "clinical = TRUE", "site = '*'", "expires_at = 9e9", "seal = NULL", "name = 'boss'"]
)
def test_a_key_whose_row_was_changed_opens_nothing_and_is_told_once(house, change):
    key = house.key(valid_s=60.0)
    assert house.opens(key)
    assert house.execute(f"UPDATE api_keys SET {change} WHERE prefix = :prefix", prefix=key.prefix) == 1
    assert not house.opens(key)
    assert not house.opens(key)
    assert house.alerts() == [("key", key.prefix)]


def test_a_key_that_was_written_past_the_service_opens_nothing(house):
    with house.past.write() as session:
        forged = create_key(session, Grant(Role.ADMIN))
    ours = house.key()
    with house.past.write() as session:
        borrowed = create_key(session, Grant(Role.ADMIN))
        session.get_one(ApiKeyRow, borrowed.prefix).seal = house.row_of(ours)["seal"]
    assert (house.opens(forged), house.opens(borrowed), house.opens(ours)) == (False, False, True)


def test_a_changed_key_stays_forged_when_the_service_writes_its_row(house):
    key = house.key()
    house.execute("UPDATE api_keys SET role = 'admin'")
    with house.database.write() as session:
        session.get_one(ApiKeyRow, key.prefix).name = "renamed"
    assert not house.opens(key)


def test_the_row_of_a_revoked_or_rotated_key_that_is_put_back_opens_nothing(house):
    revoked, rotated = house.key(), house.key()
    before = [house.row_of(revoked), house.row_of(rotated)]
    with house.database.write() as session:
        revoke_key(session, revoked.prefix)
        rotate_key(session, rotated.prefix, overlap_s=0.0)
    for row in before:
        house.execute(update(ApiKeyRow).where(ApiKeyRow.prefix == row["prefix"]).values(row))
    assert not house.opens(revoked)
    assert not house.opens(rotated)
    assert {kind for kind, _ in house.alerts()} == {"key"}


# --- sessions of browsers ---


def test_a_session_or_link_that_was_written_past_the_service_opens_nothing(house):
    key = house.key(Role.ADMIN)
    ours, forged = (Sessions(database, house.settings) for database in (house.database, house.past))
    good = ours.begin_by_key(key.text)
    assert ours.find(good.cookie).key.prefix == key.prefix
    with pytest.raises(ServiceError, match="session_over"):
        ours.find(forged.begin_by_key(key.text).cookie)
    with house.past.write() as session:
        code = make_link(session, key.prefix).code
    with pytest.raises(ServiceError, match="link_spent"):
        ours.begin_by_link(code)
    lesser = house.key()
    house.execute("UPDATE sessions SET key_prefix = :prefix", prefix=lesser.prefix)
    with pytest.raises(ServiceError, match="session_over"):
        ours.find(good.cookie)
    assert {kind for kind, _ in house.alerts()} == {"session", "sign_in_link"}


# --- models and calibrations ---


def test_a_default_model_that_was_chosen_past_the_service_is_not_used(house):
    with house.database.write() as session:
        register_bundles(session, [BUNDLE, OTHER])
    house.execute("UPDATE bundles SET is_default = (digest = :digest)", digest=OTHER.digest)
    with house.database.read() as session, pytest.raises(ServiceError, match="bundle_forged"):
        find_bundle(session, None)
    assert house.alerts() == [("bundle", OTHER.digest)]
    with house.database.write() as session, pytest.raises(ServiceError, match="bundle_forged"):
        find_bundle(session, f"{OTHER.name}@{OTHER.version}")


def test_a_forged_model_is_written_anew_by_the_next_worker_that_carries_it(house):
    with house.database.write() as session:
        register_bundles(session, [BUNDLE, OTHER])
    house.execute("UPDATE bundles SET name = 'evil', is_default = (digest = :digest)", digest=OTHER.digest)
    with house.database.write() as session:
        register_bundles(session, [OTHER, BUNDLE])
    with house.database.read() as session:
        assert find_bundle(session, None).digest == BUNDLE.digest
        assert find_bundle(session, OTHER.digest).name == OTHER.name
    assert {kind for kind, _ in house.alerts()} == {"bundle"}


def test_rows_of_models_that_were_deleted_choose_no_other_default(house):
    with house.database.write() as session:
        register_bundles(session, [BUNDLE])
    house.execute("DELETE FROM bundles")
    with house.database.write() as session:
        register_bundles(session, [OTHER])
        with pytest.raises(ServiceError, match="no_bundle"):
            find_bundle(session, None)
        register_bundles(session, [BUNDLE])
        assert find_bundle(session, None).digest == BUNDLE.digest


def test_an_earlier_default_model_that_is_put_back_is_not_used(house):
    with house.database.write() as session:
        register_bundles(session, [BUNDLE, OTHER])
    with house.past.read() as session:
        before = {row.digest: (row.is_default, row.seal) for row in session.scalars(select(BundleRow))}
    with house.database.write() as session:
        make_default(session, session.get_one(BundleRow, OTHER.digest))
        assert find_bundle(session, OTHER.digest).is_default
    with house.database.read() as session:
        assert find_bundle(session, None).digest == OTHER.digest
    for digest, (is_default, seal) in before.items():
        values = {"is_default": is_default, "seal": seal}
        house.execute(update(BundleRow).where(BundleRow.digest == digest).values(values))
    with house.database.read() as session, pytest.raises(ServiceError, match="bundle_forged"):
        find_bundle(session, None)


def test_a_calibration_that_was_changed_or_whose_withdrawal_was_undone_is_handed_to_no_worker(house):
    run_id = house.calibration()
    assert house.used(run_id) == ("ca" * 32,)
    house.execute("UPDATE calibrations SET expires = '2099-01-01'")
    assert house.used(run_id) == ()
    house.execute("UPDATE calibrations SET expires = '2027-03-01'")
    with house.past.read() as session:
        seal = session.scalars(select(CalibrationRow.seal)).one()
    with house.database.write() as session:
        withdraw_calibration(session, "ca" * 32, ADMIN)
    house.execute("UPDATE calibrations SET withdrawn_at = NULL, seal = :seal", seal=seal)
    assert house.used(run_id) == ()
    assert ("calibration", "ca" * 32) in house.alerts()


# --- the trail and its counter ---


def entry(house):
    house.trail.record(AuditEvent(Actor("key", "k"), Action.READ, object_kind="study", object_id="s"))


def prove(house):
    return prove_trail(house.database, house.guard, house.trail)


def test_a_trail_that_was_wiped_is_found_without_notes(house):
    entry(house)
    assert note_trail(house.database, house.guard, house.trail)
    assert not note_trail(house.database, house.guard, house.trail)
    prove(house)
    house.execute("DELETE FROM audit_trail")
    house.execute(
        update(AuditHeadRow).values(
            first_seq=1, first_mac="", last_seq=0, last_mac="", seal="", forwarded_seq=0, counter=0
        )
    )
    with pytest.raises(TrailBrokenError, match="the sealed counter has seen it"):
        prove(house)
    for _ in range(5):  # and grown again to where it was
        entry(house)
    with pytest.raises(TrailBrokenError, match="an older state of the trail was put back"):
        prove(house)


def test_an_older_database_is_found_without_notes(house, tmp_path):
    entry(house)
    note_trail(house.database, house.guard, house.trail)
    with house.past.read() as session:
        head = {c.name: getattr(session.get_one(AuditHeadRow, 1), c.name) for c in AuditHeadRow.__table__.columns}
    entry(house)
    note_trail(house.database, house.guard, house.trail)
    house.execute("DELETE FROM audit_trail WHERE seq > :seq", seq=head["last_seq"])
    house.execute(update(AuditHeadRow).values(head))
    with pytest.raises(TrailBrokenError, match="the sealed counter has seen it"):
        prove(house)


@pytest.mark.parametrize("state", ["wiped", "an older one"])
def test_an_older_trail_stays_found_though_the_service_ran_on_with_it(house, state):
    entry(house)
    note_trail(house.database, house.guard, house.trail)
    with house.past.read() as session:
        head = {c.name: getattr(session.get_one(AuditHeadRow, 1), c.name) for c in AuditHeadRow.__table__.columns}
    entry(house)
    entry(house)
    note_trail(house.database, house.guard, house.trail)
    if state == "wiped":
        head |= {"first_seq": 1, "first_mac": "", "last_seq": 0, "last_mac": "", "seal": "", "counter": 0}
    house.execute("DELETE FROM audit_trail WHERE seq > :seq", seq=head["last_seq"])
    house.execute(update(AuditHeadRow).values(head))
    for _ in range(2):  # sweeps of the scheduler, which note where it ends now
        entry(house)
        note_trail(house.database, house.guard, house.trail)
    assert house.alerts() == [("audit_trail", "3")]
    with pytest.raises(TrailBrokenError, match="an older state of the trail was put back"):
        prove(house)
    renew_counter(house.database, house.guard, house.trail)  # an operator has looked, and goes on
    prove(house)


def test_what_retention_removed_of_the_trail_is_not_missed(house):
    entry(house)
    note_trail(house.database, house.guard, house.trail)
    entry(house)
    with house.database.write() as session:
        assert house.trail.drop_before(session, float("inf")) == 2
    entry(house)
    assert note_trail(house.database, house.guard, house.trail)
    assert house.alerts() == []
    prove(house)


def test_a_counter_that_is_gone_is_not_made_anew_in_silence(house):
    revoked, leaked = house.key(), house.key()
    before = house.row_of(revoked)
    with house.database.write() as session:
        revoke_key(session, revoked.prefix)
    house.guard.counter.path.unlink()
    house.execute(update(ApiKeyRow).where(ApiKeyRow.prefix == revoked.prefix).values(before))
    with closing(Essentials.open(house.settings)) as other:  # a process that has not seen the file
        with other.database.write() as session, pytest.raises(CounterBrokenError, match="is gone"):
            revoke_key(session, leaked.prefix)
        house.guard.counter._write(Noted())  # as one did that was made anew
        with pytest.raises(CounterMissingError):
            migrate(house.settings)
    assert not house.opens(revoked)


def test_a_counter_that_is_altered_while_it_is_used_shuts_nobody_out_and_revives_nothing(house):
    revoked, good = house.key(), house.key()
    before = house.row_of(revoked)
    with house.database.write() as session:
        revoke_key(session, revoked.prefix)
    house.execute(update(ApiKeyRow).where(ApiKeyRow.prefix == revoked.prefix).values(before))
    written = house.guard.counter.path.read_bytes()
    for altered in (b"", b"\xff\0", written.replace(b'"number":', b'"number":9')):
        house.guard.counter.path.write_bytes(altered)
        assert house.opens(good)
        assert not house.opens(revoked)


def test_the_order_of_verdicts_is_that_of_their_seals(house):
    run_id = add_run(house.database)
    house.execute("UPDATE runs SET status = 'completed'")
    for verdict, why in ((Verdict.REJECTED, "motion"), (Verdict.ACCEPTED, "")):
        with house.database.write() as session:
            run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
            given = VerdictRequest(verdict=verdict, why=why, reader="Dr. A")
            give_verdict(session, house.parts.vault, house.trail, ADMIN, run, given)
    house.execute("UPDATE verdicts SET seq = 10 - seq")
    with house.database.read() as session:
        assert standing_verdicts(session, house.parts.vault, [run_id])[run_id].verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("change", ["forwarded_seq = 100", "counter = 0", "last_seq = last_seq - 1"])
def test_a_changed_head_of_the_trail_stays_found_though_entries_are_added(house, change):
    entry(house)
    house.execute(f"UPDATE audit_head SET {change}")
    with pytest.raises(TrailBrokenError):
        prove(house)
    if "last_seq" not in change:
        entry(house)
        with pytest.raises(TrailBrokenError, match="head was changed"):
            prove(house)


def test_a_counter_that_is_gone_older_or_altered_stops_the_next_start(house, tmp_path):
    file = house.guard.counter.path
    entry(house)
    shutil.copy(file, tmp_path / "older")
    note_trail(house.database, house.guard, house.trail)
    entry(house)
    note_trail(house.database, house.guard, house.trail)

    def start():
        with closing(Essentials.open(house.settings)) as parts:
            require_counter(parts.database, parts.database.guard, parts.trail)

    start()
    shutil.copy(tmp_path / "older", file)
    with pytest.raises(CounterMissingError, match="renew-counter"):
        start()
    file.write_text(file.read_text().replace('"number":', '"number":1'))
    with pytest.raises(CounterBrokenError):
        start()
    file.unlink()
    with pytest.raises(CounterMissingError):
        start()
    with pytest.raises(CounterMissingError):
        migrate(house.settings)
    key = house.key()
    with closing(Essentials.open(house.settings)) as parts:
        assert key.prefix in renew_counter(parts.database, parts.database.guard, parts.trail)
    start()
    migrate(house.settings)
    assert ("sealed_counter", "") in house.alerts()


def test_a_process_that_has_seen_a_revocation_remembers_it_when_the_counter_goes(house):
    key = house.key()
    before = house.row_of(key)
    with house.database.write() as session:
        revoke_key(session, key.prefix)
    house.execute(update(ApiKeyRow).where(ApiKeyRow.prefix == key.prefix).values(before))
    house.guard.counter.path.unlink()
    assert not house.opens(key)


# --- the first start after an upgrade ---


def as_an_earlier_release_left_it(house):
    for table in ("api_keys", "bundles", "calibrations", "sessions", "sign_in_links"):
        house.execute(f"UPDATE {table} SET seal = NULL")
    head = house.past
    with head.write() as session:
        row = session.get_one(AuditHeadRow, 1)
        row.counter = 0
        row.seal = house.trail._hmac("head", [row.first_seq, row.first_mac, row.last_seq, row.last_mac])
    house.guard.counter.path.unlink()


def test_the_rows_of_an_earlier_release_are_sealed_at_the_first_start_and_never_again(tmp_path):
    first = House(tmp_path)
    key, run_id = first.key(), first.calibration()
    as_an_earlier_release_left_it(first)
    first.close()
    migrate(Settings(data_dir=tmp_path))
    house = House(tmp_path)
    try:
        assert house.opens(key)
        assert house.used(run_id)
        with house.database.read() as session:
            assert find_bundle(session, None).digest == BUNDLE.digest
        prove(house)
        house.execute("UPDATE api_keys SET role = 'admin', seal = NULL")
        house.execute("UPDATE audit_head SET counter = 0")
        migrate(house.settings)
        assert not house.opens(key)
    finally:
        house.close()


class KilledError(Exception):
    """Stands for a kill."""


class DyingCounter(SealedCounter):
    """Is killed after ``change`` has been called so often: the first time with the file written, else before."""

    def __init__(self, counter, at):
        super().__init__(counter.path, counter._key)
        self.left = at

    def change(self, changed, **how):
        self.left -= 1
        if self.left == 0:
            if not self.exists:
                super().change(changed, **how)
            raise KilledError
        return super().change(changed, **how)


@pytest.mark.parametrize("broken_off", ["before the database", "before the file says so"])
def test_a_first_start_that_was_killed_is_ended_by_the_next(tmp_path, broken_off):
    first = House(tmp_path)
    key = first.key()
    as_an_earlier_release_left_it(first)
    first.close()
    house = Essentials.open(Settings(data_dir=tmp_path))
    guard = house.database.guard
    guard.counter = DyingCounter(guard.counter, 1 if broken_off == "before the database" else 2)
    with pytest.raises(KilledError):
        establish_trust(house.database, guard, house.trail)
    house.close()
    migrate(Settings(data_dir=tmp_path))
    again = House(tmp_path)
    assert again.opens(key)
    with again.past.read() as session:
        assert session.scalar(select(func.count()).select_from(ApiKeyRow).where(ApiKeyRow.seal.is_(None))) == 0
    again.close()


# --- after a restore ---


def test_a_restore_revives_no_key_that_the_counter_knows_as_ended(house):
    key, other = house.key(), house.key()
    before = house.row_of(key)
    with house.database.write() as session:
        revoke_key(session, key.prefix)
    house.execute(update(ApiKeyRow).where(ApiKeyRow.prefix == key.prefix).values(before))
    revived = revive(house.database, house.guard, house.trail, "20260101T000000Z", had_seals=True)
    assert revived.kept_ended == (key.prefix,)
    assert (set(revived.working), revived.counter_was_here) == ({other.prefix}, True)
    assert (house.opens(key), house.opens(other)) == (False, True)
    prove(house)
    assert len(house.guard.counter.read().restored) == 1


def test_a_restore_without_the_counter_lists_all_keys_that_it_brought_back(house):
    key = house.key()
    house.guard.counter.path.unlink()
    with closing(Essentials.open(house.settings)) as parts:
        revived = revive(parts.database, parts.database.guard, parts.trail, "20260101T000000Z", had_seals=True)
        assert (revived.working, revived.counter_was_here) == ((key.prefix,), False)
        prove_trail(parts.database, parts.database.guard, parts.trail)


def test_a_restore_seals_no_row_that_was_written_past_the_service_before_the_backup(house):
    ours = house.key()
    with house.past.write() as session:
        forged = create_key(session, Grant(Role.ADMIN))
    revived = revive(house.database, house.guard, house.trail, "20260101T000000Z", had_seals=True)
    assert (house.opens(ours), house.opens(forged), revived.working) == (True, False, (ours.prefix,))


def test_a_row_of_a_backup_moves_the_end_of_a_revoked_key_no_further_off(house):
    key = house.key()
    before = house.row_of(key)
    with house.database.write() as session:
        revoke_key(session, key.prefix)
    house.execute("UPDATE api_keys SET revoked_at = 9e9")
    revive(house.database, house.guard, house.trail, "20260101T000000Z", had_seals=True)
    house.execute(update(ApiKeyRow).where(ApiKeyRow.prefix == key.prefix).values(before))
    assert not house.opens(key)


# --- nobody reads such rows without a guard ---

WITHOUT_A_GUARD = {
    "med3d_cli/operate/ledger.py",
    "med3d_service/custody/backup/backing_up.py",
    "med3d_service/custody/backup/restoring.py",
    "med3d_service/custody/backup/snapshots.py",
    "med3d_service/custody/site_key_rotation.py",
    "med3d_service/storage/database.py",
    "med3d_service/storage/opening.py",
    "migrations/env.py",
}
"""They copy, count or rewrite rows of other kinds, or bring the schema forward."""


def test_only_who_neither_grants_nor_asks_for_keys_opens_the_database_without_a_guard():
    source = Path(med3d_service.__file__).parents[1]
    found = {
        str(file.relative_to(source))
        for file in source.rglob("*.py")
        if any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Database"
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        )
    }
    assert found <= WITHOUT_A_GUARD


@pytest.mark.parametrize("seal", ["\xe9", "\U0001f600", ""])
def test_a_seal_of_any_characters_is_forged_and_no_fault_of_the_program(house, seal):
    key = house.key()
    house.execute("UPDATE api_keys SET seal = :seal", seal=seal)
    assert find_key(house.database, key.text) is None
