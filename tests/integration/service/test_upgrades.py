"""Upgrades forwards, from every schema that there has been, with data in every table, on both databases."""

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, Float, Integer, LargeBinary, MetaData, delete, insert, select

from med3d_service.storage.database import Database, alembic_config, migrations_dir
from rig.processes.service import new_database

REVISIONS = [
    script.revision for script in ScriptDirectory(str(migrations_dir())).walk_revisions() if not script.is_head
]


def sample(column):
    """A value that the column takes."""
    for kind, value in ((Boolean, False), (Integer, 1), (Float, 1.5), (LargeBinary, b"x"), (JSON, {"a": 1})):
        if isinstance(column.type, kind):
            return value
    if column.type is None:
        return None
    length = getattr(column.type, "length", None) or 8
    return ("client" if column.name in {"scope", "role"} else "x")[:length]


def fill(connection):
    """Leave one row in every table, as far as they refer to each other the same one; how many there are of each."""
    found = MetaData()
    found.reflect(connection)
    for table in found.sorted_tables:
        if table.name != "alembic_version":
            connection.execute(delete(table))  # what a migration put there
            connection.execute(insert(table).values({column.name: sample(column) for column in table.columns}))
    return {table.name for table in found.sorted_tables} - {"alembic_version"}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("revision", REVISIONS)
def test_data_of_every_earlier_schema_is_there_after_the_upgrade(request, tmp_path, kind, revision):
    url = f"sqlite:///{tmp_path}/med3d.sqlite"
    if kind == "postgresql":
        url = new_database(request.getfixturevalue("postgresql_url"))
    database = Database(url)
    with database.engine.connect() as connection:
        command.upgrade(alembic_config(connection), revision)
    with database.engine.begin() as connection:
        filled = fill(connection)
    assert len(filled) > 5
    with database.engine.connect() as connection:
        command.upgrade(alembic_config(connection), "head")
        command.check(alembic_config(connection))
    now = MetaData()
    with database.engine.connect() as connection:
        now.reflect(connection)
        for name in filled:
            assert len(connection.execute(select(now.tables[name])).all()) == 1, name
    database.close()
