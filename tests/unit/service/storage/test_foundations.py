"""Settings, keys, identifiers, logs and the schema."""

import json
import os
import stat
import subprocess
import sys
import time

import pytest
from alembic import command
from sqlalchemy import text

from med3d_contract.results import BundleRef
from med3d_service.logs import frames_only
from med3d_service.problems import CATALOGUE, TITLES, ServiceError
from med3d_service.runs.bundles import find_bundle, read_bundle_dir, register_bundles
from med3d_service.settings import Settings
from med3d_service.storage.database import Database, alembic_config
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.tables import ApiKeyRow
from med3d_service.trust.access import Grant, Role
from med3d_service.trust.access.api_keys import create_key, ensure_key_file, find_key
from rig.service.parts import add_study, migrated, open_database

# --- schema ---


def test_an_upgrade_reads_when_a_calibration_was_made_out_of_its_file_once(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/med3d.sqlite")
    with database.engine.connect() as connection:
        command.upgrade(alembic_config(connection), "0021")
    files = {"a": b'{"created": "2026-03-01", "heads": 20}', "b": b"no json", "c": b'{"created": null}'}
    columns = {"site": "Ward 3", "heads": 20, "expires": "2027-01-01", "signature": b"s", "added_at": 1.0}
    with database.engine.begin() as connection:
        for digest, file in files.items():
            for owner in ("here", "there"):
                row = columns | {"digest": digest, "owner": owner, "bundle_digest": "d", "file": file}
                names = ", ".join(row)
                insert = f"INSERT INTO calibrations ({names}) VALUES ({', '.join(f':{name}' for name in row)})"
                connection.execute(text(insert), row)
    with database.engine.connect() as connection:
        command.upgrade(alembic_config(connection), "head")
        found = set(connection.execute(text("SELECT digest, created FROM calibrations")))
    assert found == {("a", "2026-03-01"), ("b", ""), ("c", "")}
    database.close()


def test_the_migrations_make_the_schema_that_the_code_expects(tmp_path):
    database = open_database(tmp_path)
    with database.engine.connect() as connection:
        command.check(alembic_config(connection))
    database.close()


def test_migrating_twice_is_no_error(tmp_path):
    migrated(tmp_path)
    migrated(tmp_path)


def test_sqlite_is_set_up_to_survive_a_loss_of_power(tmp_path):
    database = open_database(tmp_path)
    with database.read() as session:
        found = {
            name: session.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    database.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_the_url_may_ask_for_commits_that_outlive_the_process_alone(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/x.sqlite?synchronous=normal")
    with database.read() as session:
        assert session.execute(text("PRAGMA synchronous")).scalar_one() == 1
    database.close()
    with pytest.raises(ValueError, match="full or normal"):
        Database(f"sqlite:///{tmp_path}/x.sqlite?synchronous=off")


def test_the_database_tells_the_time_to_the_millisecond(tmp_path):
    database = open_database(tmp_path)
    before = time.time()
    assert before - 0.002 <= database.now() <= time.time() + 0.002
    database.close()


# --- settings and keys ---


def test_a_setting_can_be_read_from_the_file_that_its_variable_names(tmp_path):
    (tmp_path / "url").write_text("postgresql://secret@host/db\n")
    code = "from med3d_service.settings import Settings; print(Settings().database)"
    environment = os.environ | {"MED3D_DATABASE_URL_FILE": str(tmp_path / "url")}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "postgresql://secret@host/db"


def test_secrets_do_not_show_in_the_settings_text():
    shown = repr(Settings(database_url="postgresql://u:hidden@h/d", broker_url="redis://:hidden@h", site_key="hidden"))
    assert "hidden" not in shown


def test_the_site_key_is_made_once_and_for_its_owner_only(tmp_path):
    settings = Settings(data_dir=tmp_path)
    first = load_keys(settings)
    assert load_keys(settings) == first
    assert stat.S_IMODE((tmp_path / "site.key").stat().st_mode) == 0o600
    assert len({first.originals, first.identifiers, first.blind_index, first.uids}) == 4
    assert "originals" not in repr(first)


def test_a_damaged_site_key_is_never_replaced(tmp_path):
    (tmp_path / "site.key").write_text("00ff")
    with pytest.raises(ValueError, match="64 hex digits"):
        load_keys(Settings(data_dir=tmp_path))
    assert (tmp_path / "site.key").read_text() == "00ff"


# --- access ---


def new_key(database):
    with database.write() as session:
        return create_key(session, Grant(Role.VIEWER, site="default")).text


def test_a_key_opens_with_its_role_and_only_its_digest_is_kept(tmp_path):
    database = open_database(tmp_path)
    key = new_key(database)
    found = find_key(database, key)
    assert (found.role, found.clinical, found.site) == ("viewer", False, "default")
    assert find_key(database, key + "x") is None
    assert find_key(database, "m3d_00000000_x") is None
    assert find_key(database, "nonsense") is None
    database.close()
    secret = key.split("_", 2)[2].encode()
    assert all(secret not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


@pytest.mark.parametrize("column", ["expires_at", "revoked_at"])
def test_a_key_that_is_over_opens_nothing(tmp_path, column):
    database = open_database(tmp_path)
    key = new_key(database)
    with database.write() as session:
        setattr(session.get(ApiKeyRow, key.split("_")[1]), column, 1.0)
    assert find_key(database, key) is None
    database.close()


def test_a_key_file_is_kept_while_its_key_works_and_replaced_when_it_does_not(tmp_path):
    settings = migrated(tmp_path)
    path = tmp_path / "keys" / "client.key"
    operator, worker = Grant(Role.OPERATOR, site="default"), Grant(Role.WORKER, site="default")
    ensure_key_file(settings, operator, path)
    first = path.read_text()
    ensure_key_file(settings, operator, path)
    assert path.read_text() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ensure_key_file(settings, worker, path)
    assert path.read_text() != first


# --- identifiers ---


def test_identifiers_are_read_back_found_again_and_never_readable_on_the_disk(tmp_path):
    settings = migrated(tmp_path)
    database, vault = Database(settings.database), IdentifierVault(load_keys(settings))
    with database.write() as session:
        study_id = add_study(session)
        vault.keep(session, study_id, "patient_id", "DOE-4711")
        vault.keep(session, study_id, "patient_id", "DOE-4712")
    with database.read() as session:
        assert vault.read(session, study_id, "patient_id") == "DOE-4712"
        assert vault.read(session, study_id, "accession_number") is None
    database.close()
    assert vault.blind_index("patient_id", " doe-4712 ") == vault.blind_index("patient_id", "DOE-4712")
    assert vault.blind_index("patient_id", "x") != vault.blind_index("accession_number", "x")
    assert all(b"DOE-47" not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


# --- bundles ---


def test_bundles_are_found_by_name_version_and_digest_and_the_first_is_the_default(tmp_path):
    database = open_database(tmp_path)
    refs = [
        BundleRef(name=name, version=version, digest=digit * 64)
        for name, version, digit in (("a", "1", "1"), ("a", "2", "2"), ("b", "1", "3"))
    ]
    with database.write() as session:
        register_bundles(session, refs)
        register_bundles(session, refs)
        found = {wanted: find_bundle(session, wanted).digest[0] for wanted in (None, "a@2", "b", "3" * 64)}
        with pytest.raises(ServiceError) as caught:
            find_bundle(session, "c")
    database.close()
    assert found == {None: "1", "a@2": "2", "b": "3", "3" * 64: "3"}
    assert caught.value.code == "unknown_bundle"


def test_a_bundle_folder_says_who_it_is(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"version": "1", "name": "b", "x": 1.0}))
    ref = read_bundle_dir(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "b", "x": 1.0, "version": "1"}, indent=2))
    assert read_bundle_dir(tmp_path) == ref
    assert (ref.name, ref.version, len(ref.digest)) == ("b", "1", 64)


# --- errors and logs ---


def test_every_code_has_a_title_a_sentence_and_a_remedy():
    for code, (status, sentence, remedy) in CATALOGUE.items():
        assert status in TITLES, code
        assert sentence.endswith("."), code
        assert remedy.endswith("."), code


def test_an_exception_is_logged_by_its_kind_and_place_but_not_by_its_words():
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("DOE^JANE")
    event = frames_only(None, "error", {"event": "broke", "exc_info": caught.value})
    assert event["exception"] == "ValueError"
    assert "test_foundations.py" in event["frames"][0]
    assert "JANE" not in json.dumps(event)


def test_the_libraries_log_through_the_same_filter(tmp_path):
    code = (
        "import logging; from med3d_service.logs import configure_logging; configure_logging()\n"
        "try: raise ValueError('DOE^JANE')\n"
        "except ValueError: logging.getLogger('uvicorn.error').exception('it broke')\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = json.loads(said.stderr)
    assert (line["event"], line["exception"]) == ("it broke", "ValueError")
    assert "JANE" not in said.stderr
