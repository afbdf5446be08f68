"""A list of runs is read along an index, whatever became of them: never sorted, and no run that is not shown is read."""

import pytest
from sqlalchemy import event

from med3d_service.runs.worklist import Shown, WorklistFilter, list_runs
from med3d_service.storage.database import Database
from med3d_service.trust.access import Caller, Role
from rig.service.parts import migrated

ENDED = [one for one in Shown if one is not Shown.WAITING]  # those under way are of several states, and few


@pytest.mark.parametrize("every_site", [True, False])
def test_what_became_of_runs_is_listed_along_an_index(tmp_path, every_site):
    caller = Caller("key", "x", Role.VIEWER, clinical=False, site="default", every_site=every_site, address="local")
    database, asked, plans = Database(migrated(tmp_path).database), [], {}
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
    with database.read() as session:
        for shown in ENDED:
            asked.clear()
            assert list_runs(session, None, caller, WorklistFilter(shown=shown), before=None, limit=50) == []
            said, values = next(one for one in asked if "FROM runs" in one[0])
            plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", values)
            plans[shown] = [row[3] for row in plan]
    database.close()
    assert all(plan[0].startswith("SEARCH runs USING INDEX") for plan in plans.values()), plans
    assert not any("TEMP B-TREE" in step for plan in plans.values() for step in plan), plans
