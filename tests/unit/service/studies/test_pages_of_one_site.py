"""A page of one site's studies or arrivals is read along an index: never are all of the site's sorted for it."""

import uuid

import pytest
from sqlalchemy import event, insert

from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.tables import StudyRow
from med3d_service.trust.access import Role
from rig.service.api import empty_api

STORED = 2000


@pytest.fixture
def api(tmp_path):
    """A service of one site with many studies, of which the database's planner has been told."""
    made = empty_api(tmp_path)
    studies = [
        {
            "id": str(uuid.uuid4()), "site": "default", "digest": uuid.uuid4().hex * 2, "created_at": 1.0, "files": 1,
            "skipped_files": 0, "working_status": "ready", "working_tries": 1,
        }
        for _ in range(STORED)
    ]  # fmt: skip
    arrivals = [
        {
            "id": str(uuid.uuid4()), "site": "default", "study_index": uuid.uuid4().hex * 2, "status": "settled",
            "source": "c-store", "sender": "SCANNER", "first_at": 1.0, "last_at": float(number), "instances": 1,
        }
        for number in range(STORED)
    ]  # fmt: skip
    with made.service.database.write() as session:
        session.execute(insert(StudyRow), studies)
        session.execute(insert(ArrivalRow), arrivals)
    with made.service.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    made.service.database.engine.dispose()  # what was known of the tables before
    yield made
    made.close()


@pytest.mark.parametrize("site", ["default", "*"])
@pytest.mark.parametrize(("path", "named"), [("/studies", "FROM studies"), ("/arrivals", "FROM arrivals")])
def test_a_page_is_read_along_an_index(api, path, named, site):
    key, asked = api.key(Role.VIEWER, site=site), []
    event.listen(api.service.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
    assert len(api.request("GET", path, key).json()["items"]) == 50
    said, values = next(one for one in asked if named in one[0])
    with api.service.database.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", values)]
    assert not any("TEMP B-TREE" in step for step in plan), plan
