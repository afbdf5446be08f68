"""A page of what one site has is read along an index: never is all that the site has sorted for it."""

import uuid

import pytest
from sqlalchemy import event, insert

from med3d_service.runs.bundles import register_bundles
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.tables import DeliveryRow, RunRow, StudyRow
from med3d_service.trust.access import Role
from rig.service.api import empty_api
from rig.service.work import BUNDLE

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
    runs = [
        {
            "id": str(uuid.uuid4()), "study_id": study["id"], "bundle_digest": BUNDLE.digest, "chosen_series": "",
            "status": "completed", "priority": 3, "attempt": 1, "tries": 0, "retries": 0, "alone": False, "held": False,
            "created_at": 1.0,
        }
        for study in studies
    ]  # fmt: skip
    deliveries = [
        {
            "id": str(uuid.uuid4()), "run_id": run["id"], "kind": "sr", "destination": "PACS",
            "object_uid": uuid.uuid4().hex, "status": "delivered", "tries": 1, "created_at": 1.0, "next_try_at": 1.0,
            "give_up_at": 1.0,
        }
        for run in runs
    ]  # fmt: skip
    with made.service.database.write() as session:
        register_bundles(session, [BUNDLE])
        session.execute(insert(StudyRow), studies)
        session.execute(insert(RunRow), runs)
        session.execute(insert(DeliveryRow), deliveries)
        session.execute(insert(ArrivalRow), arrivals)
    with made.service.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    made.service.database.engine.dispose()  # what was known of the tables before
    yield made
    made.close()


@pytest.mark.parametrize("site", ["default", "*"])
@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/studies", "FROM studies"),
        ("/arrivals", "FROM arrivals"),
        ("/runs", "FROM runs"),
        ("/deliveries", "FROM deliveries"),
    ],
)
def test_a_page_is_read_along_an_index(api, path, named, site):
    key, asked = api.key(Role.VIEWER, site=site), []
    event.listen(api.service.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
    assert len(api.request("GET", path, key).json()["items"]) == 50
    said, values = next(one for one in asked if named in one[0])
    with api.service.database.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", values)]
    assert not any("TEMP B-TREE" in step for step in plan), plan
