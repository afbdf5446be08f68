"""Upgrades forwards, from every schema that there has been, with data in every table, on both databases."""

import uuid
from contextlib import closing

import pytest
from alembic import command
from sqlalchemy import JSON, Boolean, Float, Integer, LargeBinary, MetaData, delete, insert, select

from med3d_service.processes import migrate
from med3d_service.processes.api import compose
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.kept import KeptReports
from med3d_service.runs.bundles import find_bundle
from med3d_service.settings import Settings
from med3d_service.storage.database import Database, alembic_config, migration_scripts
from med3d_service.storage.keys import load_keys
from med3d_service.storage.sealed import SealedReader
from med3d_service.storage.tables import UploadRow
from med3d_service.studies.original_names import original_name
from med3d_service.trust.access.api_keys import find_key
from med3d_service.trust.establishing import prove_trail
from rig.processes.service import new_database
from rig.service.earlier import report_of, sealed_nameless, sha256, trail_of_0_2_0

REVISIONS = [script.revision for script in migration_scripts().walk_revisions() if not script.is_head]


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


class EarlierRelease:
    """A data folder as 0.2.0 left it: a key, a model, a study with its original, a run with its report, a trail."""

    KEY = "m3d_abcdefgh_" + "s" * 43

    def __init__(self, folder):
        self.settings = Settings(data_dir=folder)
        self.keys = load_keys(self.settings)
        self.study_id, self.run_id, self.upload_id = (str(uuid.uuid4()) for _ in range(3))
        self.report = report_of(self.run_id)
        database = Database(self.settings.database)
        with database.engine.connect() as connection:
            command.upgrade(alembic_config(connection), "0024")
        self._leave_objects()
        with database.engine.begin() as connection:
            self._found = MetaData()
            self._found.reflect(connection)
            self._leave_rows(connection)
        database.close()

    def _leave_objects(self):
        store = self.settings.data_dir / "store"
        self.original = store / "originals" / self.upload_id
        for path, content in (
            (self.original, b"an original"),
            (store / "reports" / self.run_id / "sr", self.report),
        ):
            path.parent.mkdir(parents=True)
            sealed_nameless(path, content, self.keys.originals)

    def _leave_rows(self, connection):
        self._insert(connection, "api_keys", prefix="abcdefgh", key_sha256=sha256(self.KEY), role="admin", site="*")
        self._insert(connection, "bundles", digest="b" * 64, name="model", version="1", is_default=True)
        self._insert(connection, "studies", id=self.study_id, site="here", digest="d" * 64, working_status="ready")
        self._insert(
            connection, "runs", id=self.run_id, study_id=self.study_id, bundle_digest="b" * 64, status="completed"
        )
        original = sha256(self.original.read_bytes())
        key = f"originals/{self.upload_id}"
        self._insert(connection, "uploads", id=self.upload_id, study_id=self.study_id, key=key, sha256=original)
        trail_of_0_2_0(connection, self._found, self.keys.audit, entries=3)

    def _insert(self, connection, table_name, /, **given):
        table = self._found.tables[table_name]
        values = {column.name: sample(column) for column in table.columns if not column.nullable}
        connection.execute(insert(table).values(values | given))


def test_a_data_folder_of_an_earlier_release_is_taken_over_with_nothing_lost(tmp_path):
    earlier = EarlierRelease(tmp_path)
    migrate(earlier.settings)
    migrate(earlier.settings)
    with closing(compose(earlier.settings)) as service:
        key = find_key(service.database, earlier.KEY)
        assert (key.role, key.site) == ("admin", "*")
        assert prove_trail(service.database, service.database.guard, service.audit).entries >= 3
        with service.database.read() as session:
            assert find_bundle(session, None).name == "model"
            upload = session.get_one(UploadRow, earlier.upload_id)
        name = original_name(upload.id, "here")
        with SealedReader(earlier.original, service.keys.originals, name, upload.sha256) as reader:
            assert reader.readall() == b"an original"
        assert KeptReports(service).find(earlier.run_id, Kind.SR) == earlier.report
        assert KeptReports(service).find(earlier.run_id, Kind.SR) == earlier.report
