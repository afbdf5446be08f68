"""Finding by blind index, and a new key for the identifiers."""

import json
import sqlite3

import pytest
from cryptography.exceptions import InvalidTag
from sqlalchemy import select
from typer.testing import CliRunner

from med3d_cli.data_dir import DataDir
from med3d_cli.errors import CommandError
from med3d_cli.main import make_app
from med3d_service.custody import key_rotation
from med3d_service.custody.key_rotation import rotate_identifier_key
from med3d_service.network.pulls.tables import PullRow
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import PatientUpdateRow
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys, identifier_keys_file, load_keys
from med3d_service.storage.tables import IdentifierRow
from med3d_service.studies.patient_corrections import KnownAs, PatientUpdate
from med3d_service.studies.remembered_updates import Meant, remember
from rig.service.parts import add_study, migrated

KIND = "patient_id"


@pytest.fixture
def settings(tmp_path):
    return migrated(tmp_path)


def kept(settings, *texts):
    """Studies with these patient ids; their ids."""
    database, vault = Database(settings.database), IdentifierVault(load_keys(settings))
    with database.write() as session:
        studies = [add_study(session) for _ in texts]
        for study_id, text in zip(studies, texts, strict=True):
            vault.keep(session, study_id, KIND, text)
    database.close()
    return studies


def read(settings, study_id, keys=None):
    database, vault = Database(settings.database), IdentifierVault(keys or load_keys(settings))
    try:
        with database.read() as session:
            return vault.read(session, study_id, KIND)
    finally:
        database.close()


def ciphertexts(settings):
    with sqlite3.connect(settings.data_dir / "med3d.sqlite") as connection:
        found = [row[0] for row in connection.execute("SELECT ciphertext FROM identifiers ORDER BY id")]
    connection.close()
    return found


def test_a_study_is_found_by_its_identifier_however_it_is_written(settings):
    first, _other = kept(settings, "PAT-1", "PAT-2")
    database, vault = Database(settings.database), IdentifierVault(load_keys(settings))
    with database.read() as session:
        assert list(session.scalars(vault.find(KIND, " pat-1 "))) == [first]
        assert list(session.scalars(vault.find("accession_number", "PAT-1"))) == []
    database.close()


def test_after_rotation_the_new_key_opens_all_and_the_old_one_nothing(settings):
    old = load_keys(settings)
    studies = kept(settings, *(f"PAT-{number}" for number in range(1201)))
    before = ciphertexts(settings)
    assert rotate_identifier_key(settings).rows == 1201
    assert [read(settings, studies[number]) for number in (0, 600, 1200)] == ["PAT-0", "PAT-600", "PAT-1200"]
    assert not set(before) & set(ciphertexts(settings))
    with pytest.raises(InvalidTag):
        read(settings, studies[0], old)
    assert identifier_keys_file(settings).stat().st_mode & 0o777 == 0o600
    new = load_keys(settings)
    alone = SiteKeys(new.originals, new.identifiers, new.blind_index, new.uids)
    assert read(settings, studies[0], alone) == "PAT-0", "no older key is needed"
    assert new.blind_index == old.blind_index, "what was found is found again"


def test_a_second_rotation_replaces_the_first_key(settings):
    (study_id,) = kept(settings, "PAT-1")
    rotate_identifier_key(settings)
    first = load_keys(settings)
    rotate_identifier_key(settings)
    assert read(settings, study_id) == "PAT-1"
    assert first.identifiers not in {load_keys(settings).identifiers, *load_keys(settings).older_identifiers}


def test_a_rotation_that_was_broken_off_loses_nothing_and_is_ended_by_the_next(settings, monkeypatch):
    studies = kept(settings, "PAT-1", "PAT-2", "PAT-3")
    monkeypatch.setattr(key_rotation, "ROWS_AT_ONCE", 1)
    calls = []

    class Dies(IdentifierVault):
        def renew(self, row):
            calls.append(row)
            if len(calls) == 2:
                raise KeyboardInterrupt
            super().renew(row)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it ends in the middle
        patched.setattr(key_rotation, "IdentifierVault", Dies)
        rotate_identifier_key(settings)
    assert [read(settings, study_id) for study_id in studies] == ["PAT-1", "PAT-2", "PAT-3"]
    rotate_identifier_key(settings)
    assert [read(settings, study_id) for study_id in studies] == ["PAT-1", "PAT-2", "PAT-3"]
    assert len(identifier_keys_file(settings).read_text().split()) == 1


def test_keys_of_the_environment_are_used_in_their_order_and_never_written(settings):
    (study_id,) = kept(settings, "PAT-1")
    given = Settings(data_dir=settings.data_dir, identifier_keys="ab" * 32)
    assert read(given, study_id) == "PAT-1", "what the derived key sealed stays readable"
    done = rotate_identifier_key(given)
    assert (done.rows, done.old_keys_removed) == (1, False)
    assert not identifier_keys_file(settings).exists()
    with pytest.raises(InvalidTag):
        read(settings, study_id)
    both = Settings(data_dir=settings.data_dir, identifier_keys=f"{'cd' * 32}\n{'ab' * 32}\n")
    assert read(both, study_id) == "PAT-1"


@pytest.mark.parametrize("text", ["ab" * 31, "ab" * 33, "no hex at all", f"{'ab' * 32} cd"])
def test_a_damaged_key_is_told_and_never_replaced(settings, text):
    identifier_keys_file(settings).write_text(text)
    with pytest.raises(ValueError):
        load_keys(settings)
    assert identifier_keys_file(settings).read_text() == text


def test_what_pulls_want_is_sealed_anew_too(settings):
    database, old = Database(settings.database), IdentifierVault(load_keys(settings))
    with database.write() as session:
        session.add(
            PullRow(
                id="pull-1", site="default", source="dicomweb", peer="archive", origin="request", kind="study",
                wanted=old.seal("an accession", "pull-1"), wanted_index="0" * 64, urgency=0, status="waiting",
                claim=0, tries=0, created_at=0.0, next_try_at=0.0, give_up_at=0.0, instances=0, skipped_instances=0,
            )
        )  # fmt: skip
    rotate_identifier_key(settings)
    with database.read() as session:
        pull = session.scalars(select(PullRow)).one()
        assert IdentifierVault(load_keys(settings)).unseal(pull.wanted, "pull-1") == "an accession"
        with pytest.raises(InvalidTag):
            old.unseal(pull.wanted, "pull-1")
        assert session.scalars(select(IdentifierRow)).first() is None
    database.close()


def test_what_messages_told_of_patients_is_sealed_anew_too(settings):
    database, old = Database(settings.database), IdentifierVault(load_keys(settings))
    told = PatientUpdate((KnownAs("P-1"),), (), "Roe^Rita", None, None)
    with database.write() as session:
        remember(session, old, told, Meant(None, None), "P-1", "P-1")
    rotate_identifier_key(settings)
    with database.read() as session:
        row = session.scalars(select(PatientUpdateRow)).one()
        assert PatientUpdate.read(IdentifierVault(load_keys(settings)).unseal(row.told, row.id)) == told
        with pytest.raises(InvalidTag):
            old.unseal(row.told, row.id)
    database.close()


def test_the_command_rotates_and_refuses_while_the_service_runs(settings):
    (study_id,) = kept(settings, "PAT-1")
    with DataDir(settings.data_dir).locked():
        said = CliRunner().invoke(make_app(), ["identifier-key", "rotate", "--data-dir", str(settings.data_dir)])
    assert isinstance(said.exception, CommandError)
    assert "stop it" in str(said.exception)
    said = CliRunner().invoke(make_app(), ["identifier-key", "rotate", "--data-dir", str(settings.data_dir)])
    assert (said.exit_code, said.stdout.strip()) == (0, "sealed anew under the new key: 1")
    words = ["identifier-key", "rotate", "--json", "--data-dir", str(settings.data_dir)]
    assert json.loads(CliRunner().invoke(make_app(), words).stdout) == {"rows": 1, "old_keys_removed": True}
    assert read(settings, study_id) == "PAT-1"
