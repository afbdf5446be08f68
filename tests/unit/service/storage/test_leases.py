"""Rows that are taken for a while: who may take them, and which moves are made."""

import pytest
from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql

from med3d_service.storage.copy_states import CopyStatus, move_copies
from med3d_service.storage.database import db_now
from med3d_service.storage.leases import WorkTable, move_rows
from med3d_service.storage.tables import StudyRow
from rig.service.parts import add_study, open_database

COPIES = WorkTable(
    StudyRow,
    waits=StudyRow.working_status == "waiting",
    in_hand=StudyRow.working_status == "copying",
    lease_until=StudyRow.working_lease_until,
)
MOVES = {"waiting": {"copying"}, "copying": {"ready"}, "ready": set()}


@pytest.fixture
def session(tmp_path):
    database = open_database(tmp_path)
    with database.write() as opened:
        yield opened
    database.close()


def copying(session, lease_s):
    """A study in a courier's hands whose lease ends ``lease_s`` from now."""
    study_id = add_study(session, "copying")
    lease = update(StudyRow).where(StudyRow.id == study_id)
    session.execute(lease.values(working_lease_until=db_now() + lease_s))
    return study_id


def taken(session, *only, **asked):
    return [row.id for row in COPIES.lock_due(session, *only, order=[StudyRow.files, StudyRow.id], **asked)]


def status_of(session, study_id):
    return session.scalar(select(StudyRow.working_status).where(StudyRow.id == study_id))


def test_what_waits_and_what_its_holder_lost_is_due_and_nothing_else(session):
    waiting, lost = add_study(session, "waiting"), copying(session, -1)
    copying(session, 600)
    add_study(session, "ready")
    assert set(taken(session, limit=9)) == {waiting, lost}


def test_without_anything_due_nothing_is(session):
    copying(session, 600)
    assert not COPIES.has_due(session)
    assert taken(session) == []


def test_it_is_told_that_something_is_due_only_of_what_is_asked_for(session):
    waiting = add_study(session, "waiting")
    assert COPIES.has_due(session)
    assert not COPIES.has_due(session, StudyRow.id != waiting)
    assert taken(session, StudyRow.id != waiting) == []


def test_one_is_taken_by_the_order_unless_more_are_asked_for(session):
    ids = [add_study(session, "waiting") for _ in range(3)]
    for files, study_id in zip((3, 1, 2), ids, strict=True):
        session.execute(update(StudyRow).where(StudyRow.id == study_id).values(files=files))
    assert taken(session) == [ids[1]]
    assert taken(session, limit=2) == [ids[1], ids[2]]


def test_rows_that_another_takes_just_now_are_passed_over():
    class Asked:
        def scalars(self, query):
            self.sql = str(query.compile(dialect=postgresql.dialect()))
            return ScalarsWithout()

    class ScalarsWithout:
        def all(self):
            return []

    asked = Asked()
    assert COPIES.lock_due(asked, order=[StudyRow.id]) == []
    assert asked.sql.endswith("FOR UPDATE SKIP LOCKED")


def test_only_rows_that_stand_where_they_may_and_are_as_asked_are_moved(session):
    here, there, done = (add_study(session, one) for one in ("waiting", "waiting", "ready"))
    moved = move_rows(
        session, StudyRow.working_status, MOVES, {"waiting"}, "copying", StudyRow.id != there, working_tries=4
    )
    assert moved == 1
    assert [status_of(session, one) for one in (here, there, done)] == ["copying", "waiting", "ready"]
    assert session.scalar(select(StudyRow.working_tries).where(StudyRow.id == here)) == 4


def test_a_move_that_one_of_the_places_does_not_allow_moves_nothing(session):
    here = add_study(session, "waiting")
    with pytest.raises(AssertionError, match="nothing goes from ready to copying"):
        move_rows(session, StudyRow.working_status, MOVES, {"waiting", "ready"}, "copying")
    assert status_of(session, here) == "waiting"


def test_copies_of_several_studies_move_at_once_and_are_counted_and_read_anew(session):
    ids = [add_study(session, one) for one in ("waiting", "waiting", "ready", "waiting")]
    rows = {row.id: row for row in session.scalars(select(StudyRow))}
    assert move_copies(session, ids[:3], {CopyStatus.WAITING}, CopyStatus.COPYING) == 2
    assert [rows[one].working_status for one in ids] == ["copying", "copying", "ready", "waiting"]
