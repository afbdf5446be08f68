"""A new site key: all is read with it, the old one opens nothing, and where it is broken off the next call ends it."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from cryptography.exceptions import InvalidTag
from sqlalchemy import select
from typer.testing import CliRunner

import med3d_service.runs.verdicts  # noqa: F401 - so that every kind of sealed row is known
from med3d_cli.errors import CommandError
from med3d_cli.main import make_app
from med3d_contract.results import Verdict, VerdictRequest
from med3d_service.custody.key_rotation import rotate_identifier_key
from med3d_service.custody.ledger import Ledger
from med3d_service.custody.site_key_rotation import SEALED_TABLES, SiteKeyRotationError, rotate_site_key
from med3d_service.processes import migrate
from med3d_service.processes.api import compose
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.kept import KeptReports
from med3d_service.runs.bundles import register_bundles
from med3d_service.runs.verdicts import give_verdict, standing_verdicts
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import RotationUnfinishedError, keys_of, load_keys, next_key_file
from med3d_service.storage.sealed import SealBrokenError, SealedReader
from med3d_service.storage.sealed_counter import CounterBrokenError
from med3d_service.storage.tables import BeatRow, RunRow, SealedRow, UploadRow
from med3d_service.studies.original_names import original_name
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import Limits, Meter
from med3d_service.trust.access import Caller, Grant, Role
from med3d_service.trust.access.api_keys import create_key, find_key
from med3d_service.trust.audit.tables import AuditRow
from med3d_service.trust.establishing import prove_trail
from rig.dicom.uploads import CONTENT_TYPE, dicom_files, files_form, named, zip_of
from rig.service.earlier import report_of, sealed_nameless
from rig.service.parts import add_run, migrated
from rig.service.work import BUNDLE

ADMIN = Caller("key", "k", Role.ADMIN, False, "default", True, "")
STUDY = zip_of(named(dicom_files()))


class Clinic:
    """A service that holds one of everything that is sealed, and is stopped."""

    def __init__(self, folder, **settings):
        self.settings = migrated(folder, **settings)
        with self.open() as service:
            with service.database.write() as session:
                register_bundles(session, [BUNDLE])
                self.key = create_key(session, Grant(Role.ADMIN, site="default"))
            form = StudyForm(
                CONTENT_TYPE,
                self.settings.spool_dir,
                service.keys.originals,
                "default",
                Meter(Limits.of(self.settings)),
            )
            form.write(files_form(("study.zip", STUDY)))
            taken = service.recorder.record("default", *form.finish())
            form.discard()
            self.study, self.run, self.older_run = taken.study_id, taken.run_id, add_run(service.database)
            KeptReports(service).keep(self.run, Kind.SR, report_of(self.run))
            with service.database.write() as session:
                service.vault.keep(session, self.study, "patient_id", "PAT-1")
                run = session.scalars(select(RunRow).where(RunRow.id == self.run)).one()
                run.status = "completed"
                given = VerdictRequest(verdict=Verdict.ACCEPTED, why="as it looks", reader="R")
                give_verdict(session, service.vault, service.audit, ADMIN, run, given)
            self.left_by_an_older_release = service.store.local_path(f"reports/{self.older_run}/sr")
            self.left_by_an_older_release.parent.mkdir(parents=True)
            sealed_nameless(self.left_by_an_older_release, report_of(self.older_run), service.keys.originals)

    def open(self):
        return closing(compose(self.settings))

    def require_whole(self):
        """Everything is read as it was, and nothing is said to be forged."""
        migrate(self.settings)
        with self.open() as service:
            assert original_of(service, service.keys) == STUDY_BYTES[0]
            kept = KeptReports(service)
            assert kept.find(self.run, Kind.SR) == report_of(self.run)
            assert kept.find(self.older_run, Kind.SR) == report_of(self.older_run)
            assert find_key(service.database, self.key.text) is not None
            with service.database.read() as session:
                assert service.vault.read(session, self.study, "patient_id") == "PAT-1"
                assert list(session.scalars(service.vault.find("patient_id", "pat-1"))) == [self.study]
                assert standing_verdicts(session, service.vault, [self.run])[self.run].why == "as it looks"
                alerts = session.scalars(select(AuditRow.object_id).where(AuditRow.action == "alert")).all()
            assert alerts == []
            prove_trail(service.database, service.database.guard, service.audit)
            assert not {"original_altered", "report_altered", "original_missing", "report_missing"} & set(
                Ledger(self.settings, service.database, service.store).check(digests=True).counts
            )

    def changes(self):
        with self.open() as service, service.database.read() as session:
            rows = session.scalars(select(AuditRow.detail).where(AuditRow.object_kind == "site_key"))
            return [row.split('"change":"')[1].split('"')[0] for row in rows.all()]


STUDY_BYTES = [b""]


def original_of(service, keys):
    with service.database.read() as session:
        row = session.scalars(select(UploadRow)).one()
    path = service.store.local_path(row.key)
    with SealedReader(path, keys.originals, original_name(row.id, "default"), row.sha256) as reader:
        return reader.readall()


@pytest.fixture
def clinic(tmp_path):
    made = Clinic(tmp_path)
    with made.open() as service:
        STUDY_BYTES[0] = original_of(service, service.keys)
    return made


class PowerCut(BaseException):
    pass


def test_after_a_rotation_the_new_key_opens_all_and_the_old_one_nothing(clinic):
    old = load_keys(clinic.settings)
    done = rotate_site_key(clinic.settings)
    assert (done.objects, done.damaged, done.put_in_place) == (3, (), None)
    assert not clinic.left_by_an_older_release.exists(), "it has its name now"
    clinic.require_whole()
    assert clinic.changes() == ["rotation_begun", "rotated"]
    new = load_keys(clinic.settings)
    assert not {old.originals, old.identifiers, old.audit, old.rows, old.counter} & {
        new.originals, new.identifiers, new.audit, new.rows, new.counter,
    }  # fmt: skip
    assert (new.blind_index, new.uids) == (old.blind_index, old.uids), "what was found is found again"
    with clinic.open() as service:
        with pytest.raises(SealBrokenError):
            original_of(service, old)
        with service.database.read() as session, pytest.raises(InvalidTag):
            IdentifierVault(old).read(session, clinic.study, "patient_id")
    assert (clinic.settings.data_dir / "site.key").stat().st_mode & 0o777 == 0o600


def test_a_rotation_that_is_broken_off_at_every_step_ends_and_loses_nothing(clinic):
    seen = set()

    def cut(what, count):
        if (what, count) not in seen:
            seen.add((what, count))
            raise PowerCut

    for _cuts in range(60):
        try:
            rotate_site_key(clinic.settings, cut)
            break
        except PowerCut:
            if next_key_file(clinic.settings).exists():
                with pytest.raises(RotationUnfinishedError):
                    load_keys(clinic.settings)
    assert {what for what, _ in seen} >= {
        "noted", "made", "begun", "head", "sealed", "stored", "objects", "rows", "identifiers", "counter", "ended",
    }  # fmt: skip
    clinic.require_whole()
    assert clinic.changes()[-2:] == ["rotation_begun", "rotated"]


KILLED = """
import os, signal, sys
from med3d_service.custody.site_key_rotation import rotate_site_key
from med3d_service.settings import Settings
rotate_site_key(Settings(data_dir=sys.argv[1]), lambda what, _: what == "stored" and os.kill(os.getpid(), signal.SIGKILL))
"""
"""In a process of its own and no fork: the store's threads would be missing in it."""


def test_a_rotation_that_is_killed_is_ended_by_the_command(clinic):
    folder = str(clinic.settings.data_dir)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    died = subprocess.run([sys.executable, "-c", KILLED, folder], check=False, env=env)
    assert died.returncode == -signal.SIGKILL
    said = CliRunner().invoke(make_app(), ["audit", "verify", "--data-dir", folder])
    assert isinstance(said.exception, CommandError)
    assert "site-key rotate" in str(said.exception)
    said = CliRunner().invoke(make_app(), ["site-key", "rotate", "--data-dir", folder])
    assert said.exit_code == 0, said
    assert said.stdout.startswith("sealed anew: 2 objects, 2 identifiers")
    clinic.require_whole()
    told = json.loads(CliRunner().invoke(make_app(), ["site-key", "rotate", "--json", "--data-dir", folder]).stdout)
    assert (told["objects"], told["identifiers"], told["damaged"], told["put_in_place"]) == (3, 2, [], None)


def test_two_rotations_are_refused_and_so_is_one_beside_a_service_that_lives(clinic):
    def again(_what, _count):
        with pytest.raises(SiteKeyRotationError, match="under way"):
            rotate_site_key(clinic.settings)
        raise PowerCut

    with pytest.raises(PowerCut):
        rotate_site_key(clinic.settings, again)

    def beat(_seconds=0.0):
        with clinic_database.write() as session:
            session.merge(BeatRow(process="api", beat_at=clinic_database.now()))

    clinic_database = Database(clinic.settings.database)
    beat()
    with pytest.raises(SiteKeyRotationError, match="stop"):
        rotate_site_key(clinic.settings, pause=beat)
    rotate_site_key(clinic.settings, pause=lambda _seconds: None)  # it had stopped a moment ago
    clinic_database.close()
    clinic.require_whole()


def test_what_was_forged_or_spoilt_before_is_not_made_good_by_a_rotation(clinic):
    past = Database(clinic.settings.database)
    with past.write_rows() as connection:
        connection.exec_driver_sql("UPDATE api_keys SET site = '*'")
    with clinic.open() as service, service.database.read() as session:
        path = service.store.local_path(session.scalars(select(UploadRow.key)).one())
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    done = rotate_site_key(clinic.settings)
    assert [key.split("/")[0] for key in done.damaged] == ["originals"]
    with clinic.open() as service:
        assert find_key(service.database, clinic.key.text) is None
        prove_trail(service.database, service.database.guard, service.audit)
    past.close()


def test_a_trail_that_was_changed_is_not_vouched_for(clinic):
    past = Database(clinic.settings.database)
    with past.write_rows() as connection:
        connection.exec_driver_sql("UPDATE audit_trail SET actor = 'nobody' WHERE seq = 1")
    past.close()
    with pytest.raises(SiteKeyRotationError, match="entry 1"):
        rotate_site_key(clinic.settings)
    assert not next_key_file(clinic.settings).exists()


def test_who_knows_the_old_key_cannot_rewrite_what_was_before_the_rotation(clinic):
    old = load_keys(clinic.settings)
    rotate_site_key(clinic.settings)
    with clinic.open() as service:
        service.audit._key = old.audit  # what its thief would write with
        with service.database.write() as session:
            row = session.get_one(AuditRow, 1)
            row.actor = "nobody"
            row.mac = service.audit._mac("", row)
    migrate(clinic.settings)
    with clinic.open() as service, pytest.raises(Exception, match="it was changed"):
        prove_trail(service.database, service.database.guard, service.audit)


def test_a_second_rotation_carries_on_from_the_first(clinic):
    rotate_site_key(clinic.settings)
    rotate_identifier_key(clinic.settings)
    rotate_site_key(clinic.settings)
    clinic.require_whole()
    assert len(load_keys(clinic.settings).older_audit) == 2


def test_a_key_of_the_settings_waits_to_be_put_in_its_place(tmp_path):
    clinic = Clinic(tmp_path, site_key="ab" * 32)
    with clinic.open() as service:
        STUDY_BYTES[0] = original_of(service, service.keys)
    left = rotate_site_key(clinic.settings).put_in_place
    with pytest.raises(SiteKeyRotationError, match="in place of the secret"):
        rotate_site_key(clinic.settings)
    with pytest.raises(CounterBrokenError):
        migrate(clinic.settings)
    clinic.settings = Settings(data_dir=tmp_path, site_key=left.read_text())
    clinic.require_whole()
    rotate_site_key(clinic.settings)


def test_a_key_that_was_copied_without_what_it_carries_is_told(clinic):
    rotate_site_key(clinic.settings)
    text = (clinic.settings.data_dir / "site.key").read_text()
    alone = Settings(data_dir=clinic.settings.data_dir, site_key=text.splitlines()[0])
    with pytest.raises(CounterBrokenError):
        migrate(alone)
    for spoilt in ("uids ab", "blind 12", "audit x " + "a" * 64):
        with pytest.raises(ValueError, match="line of the site key"):
            keys_of(clinic.settings, text + spoilt)


def test_every_kind_of_sealed_row_is_sealed_anew():
    assert set(SEALED_TABLES) == set(SealedRow.__subclasses__())
