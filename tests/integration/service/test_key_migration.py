"""Keys that were made before there were roles."""

import pytest
from alembic import command
from sqlalchemy import text

from med3d_service.settings import Settings
from med3d_service.storage.database import Database, alembic_config
from rig.processes.service import new_database

OLD = "INSERT INTO api_keys (prefix, key_sha256, scope, site, created_at) VALUES (:scope, '0', :scope, 'default', 0)"


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_old_keys_keep_working_with_no_more_than_they_had(request, tmp_path, backend):
    url = None if backend == "sqlite" else new_database(request.getfixturevalue("postgresql_url"))
    database = Database(Settings(data_dir=tmp_path, database_url=url).database)
    with database.engine.connect() as connection:
        command.upgrade(alembic_config(connection), "0004")
        for scope in ("client", "clinical", "worker"):
            connection.execute(text(OLD), {"scope": scope})
        connection.commit()
        command.upgrade(alembic_config(connection), "0005")
        rows = connection.execute(text("SELECT prefix, role, clinical FROM api_keys")).all()
        assert {tuple(row) for row in rows} == {
            ("client", "submitter", False),
            ("clinical", "submitter", True),
            ("worker", "worker", False),
        }
        command.downgrade(alembic_config(connection), "0004")
        rows = connection.execute(text("SELECT prefix, scope FROM api_keys")).all()
        assert all(prefix == scope for prefix, scope in rows)
    database.close()
