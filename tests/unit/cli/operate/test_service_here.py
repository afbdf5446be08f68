"""What commands say where the service's data is not as they need it; none of them makes or changes anything."""

import pytest
from sqlalchemy import text

from med3d_cli.errors import CommandError
from med3d_cli.operate.service_here import service_here
from med3d_service.processes import migrate
from med3d_service.storage.database import SchemaError, upgrade_schema
from med3d_service.storage.keys import SiteKeyMissingError
from rig.service.parts import migrated, open_database


def of_revision(data_dir, revision):
    database = open_database(data_dir)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    database.close()


def test_the_service_that_is_here_is_found(tmp_path):
    assert service_here(migrated(tmp_path).data_dir).data_dir == tmp_path


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("0012", r"\(0012\) is of an earlier version: start the service, which brings it forward"),
        ("9999", r"\(9999\) is of a later version than this one: install that version again"),
    ],
)
def test_another_versions_schema_is_named_and_what_to_do(tmp_path, revision, said):
    of_revision(tmp_path, revision)
    with pytest.raises(CommandError, match=said):
        service_here(tmp_path)


def test_an_older_version_does_not_touch_the_schema_of_a_later_one(tmp_path):
    of_revision(tmp_path, "9999")
    with pytest.raises(SchemaError, match="a later version"):
        upgrade_schema(migrated_settings(tmp_path))


def test_a_database_that_is_away_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("MED3D_DATABASE_URL", "postgresql://med3d:secret@127.0.0.1:9/med3d")
    with pytest.raises(CommandError, match="the database cannot be reached") as told:
        service_here(tmp_path)
    assert "secret" not in str(told.value)


def test_no_new_site_key_is_made_beside_what_the_old_one_sealed(tmp_path):
    settings = migrated(tmp_path)
    (tmp_path / "site.key").unlink()
    with pytest.raises(CommandError, match="the site key is missing"):
        service_here(tmp_path)
    with pytest.raises(SiteKeyMissingError, match=r"copy it to .*site\.key"):
        migrate(settings)
    assert not (tmp_path / "site.key").exists()


def migrated_settings(data_dir):
    from med3d_service.settings import Settings

    return Settings(data_dir=data_dir)
