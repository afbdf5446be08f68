"""Deliveries that wait for a person are counted from themselves, whatever else a site has."""

from types import SimpleNamespace

from sqlalchemy import event

from med3d_service.results.cases import count_dead_deliveries
from med3d_service.storage.database import Database
from rig.service.parts import migrated


def test_dead_deliveries_are_counted_without_a_walk_over_the_studies_of_a_site(tmp_path):
    database, asked = Database(migrated(tmp_path).database), []
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
    with database.read() as session:
        assert count_dead_deliveries(session, SimpleNamespace(sees=lambda site: site == "default")) == 0
        said, values = asked[-1]
        plan = [row[3] for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", values)]
    database.close()
    assert "deliveries" in plan[0], plan
