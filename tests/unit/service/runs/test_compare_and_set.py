"""Who moves a run, or ends an attempt, by what was read of it: one of two, and of those who came late none."""

import pytest
from sqlalchemy import select, update

from med3d_contract.results import RunStatus
from med3d_service.problems import ServiceError
from med3d_service.runs.moves import (
    Move,
    attempts_of,
    compare_and_set,
    end_attempts,
    make_moves,
    note_heard,
    record_events,
    start_attempts,
)
from med3d_service.runs.states import AttemptEnding
from med3d_service.storage.tables import AttemptRow, OutboxRow, RunEventRow, RunRow
from rig.service.parts import add_run, open_database


@pytest.fixture
def database(tmp_path):
    made = open_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def session(database):
    ids = [add_run(database) for _ in range(3)]
    with database.write() as opened:
        opened.info["ids"] = ids
        yield opened


def runs_in(session):
    return session.scalars(select(RunRow).order_by(RunRow.seq)).all()


def stored(session, *columns):
    return [tuple(row) for row in session.execute(select(*columns).order_by(columns[0]))]


def events_since(session, at):
    columns = RunEventRow.run_id, RunEventRow.status, RunEventRow.stage, RunEventRow.attempt, RunEventRow.code
    return [tuple(row) for row in session.execute(select(*columns).where(RunEventRow.at == at))]


def elsewhere(session, run, **values):
    """Change a run as another process does: who has read it does not see that."""
    session.connection().execute(update(RunRow.__table__).where(RunRow.id == run.id).values(**values))


@pytest.mark.parametrize("changed", [{"status": "preprocessing"}, {"attempt": 1}])
def test_of_several_moves_none_is_recorded_where_one_run_is_no_longer_what_it_was_read_as(session, changed):
    runs = runs_in(session)
    elsewhere(session, runs[1], **changed)
    with pytest.raises(ServiceError) as late:
        make_moves(session, [Move(run, RunStatus.REFUSED) for run in runs], 7.0)
    assert late.value.code == "attempt_over"
    assert events_since(session, 7.0) == stored(session, OutboxRow.run_id) == []


def test_a_move_changes_its_own_run_alone_and_is_recorded(session):
    first, second, third = runs_in(session)
    make_moves(session, [Move(second, RunStatus.PREPROCESSING, {"attempt": 1, "stage": "claimed"}, "taken")], 7.0)
    columns = RunRow.seq, RunRow.status, RunRow.attempt, RunRow.stage
    assert [row[1:] for row in stored(session, *columns)] == [
        ("queued", 0, None), ("preprocessing", 1, "claimed"), ("queued", 0, None)
    ]  # fmt: skip
    assert (second.status, second.attempt, first.attempt, third.status) == ("preprocessing", 1, 0, "queued")
    assert events_since(session, 7.0) == [(second.id, "preprocessing", "claimed", 1, "taken")]


def test_a_run_that_ends_is_nobody_s_any_more_and_an_answer_goes_out(session):
    refused, failed, waiting = runs_in(session)
    for run in (refused, failed, waiting):
        compare_and_set(
            session, [(run, {"worker_id": "w", "stage": "reading", "lease_expires_at": 9.0, "alone": True})]
        )
    make_moves(
        session,
        [Move(refused, RunStatus.REFUSED), Move(failed, RunStatus.FAILED), Move(waiting, RunStatus.QUEUED)],
        7.0,
    )
    columns = RunRow.seq, RunRow.finished_at, RunRow.alone, RunRow.worker_id, RunRow.stage, RunRow.lease_expires_at
    assert [row[1:] for row in stored(session, *columns)] == [
        (7.0, False, None, None, None), (7.0, False, None, None, None), (None, True, None, None, None),
    ]  # fmt: skip
    assert stored(session, OutboxRow.run_id, OutboxRow.answered_at) == [(refused.id, 7.0)]


def test_changes_of_other_columns_each_go_to_their_own_run(session):
    first, second, third = runs_in(session)
    compare_and_set(session, [(first, {"tries": 1}), (second, {"retries": 2, "tries": 3}), (third, {"tries": 4})])
    assert [row[1:] for row in stored(session, RunRow.seq, RunRow.tries, RunRow.retries)] == [(1, 0), (3, 2), (4, 0)]
    assert (first.tries, second.retries, third.tries) == (1, 2, 4)


def test_nothing_to_record_is_no_statement():
    record_events(None, [])
    note_heard(None, [], 1.0)


def started(session, attempt=1):
    """The attempts that begin with these runs, as they are read."""
    runs = runs_in(session)
    compare_and_set(session, [(run, {"attempt": attempt}) for run in runs])
    start_attempts(session, runs, "preprocess", "worker-1", 5.0)
    return attempts_of(session, {run.id: attempt for run in runs})


def test_attempts_are_begun_together_and_found_by_run_and_number(session):
    attempts = started(session)
    assert set(attempts) == set(session.info["ids"])
    for run_id, one in attempts.items():
        assert (one.run_id, one.number, one.stage, one.worker_id) == (run_id, 1, "preprocess", "worker-1")
        assert (one.batch_size, one.claimed_at, one.heard_at, one.ending) == (3, 5.0, None, None)
    first, *_ = attempts
    assert attempts_of(session, {first: 2}) == attempts_of(session, {"no-such-run": 1}) == {}


def test_an_attempt_is_heard_of_once_and_no_other_by_that(session):
    started(session)
    first, second, third = started(session, attempt=2).values()
    note_heard(session, [first], 6.0)
    note_heard(session, [first, second], 8.0)
    told = {
        (run_id, number): at
        for run_id, number, at in stored(session, AttemptRow.run_id, AttemptRow.number, AttemptRow.heard_at)
    }
    assert {key: at for key, at in told.items() if at} == {(first.run_id, 2): 6.0, (second.run_id, 2): 8.0}
    assert (first.heard_at, second.heard_at, third.heard_at) == (6.0, 8.0, None)


def test_an_attempt_ends_and_none_before_or_beside_it(session):
    started(session)
    first, second, _ = started(session, attempt=2).values()
    end_attempts(session, [(first, AttemptEnding.LOST), (second, AttemptEnding.REFUSED)], 9.0)
    ended = stored(session, AttemptRow.run_id, AttemptRow.number, AttemptRow.ending, AttemptRow.ended_at)
    assert {row for row in ended if row[2]} == {(first.run_id, 2, "lost", 9.0), (second.run_id, 2, "refused", 9.0)}
    assert (first.ending, first.ended_at, second.ending) == ("lost", 9.0, "refused")
    end_attempts(session, [], 10.0)


def test_what_was_thought_lost_ends_once_more_but_not_for_who_read_it_before(session):
    first, *_ = started(session).values()
    session.expunge(first)
    (again,) = attempts_of(session, {first.run_id: 1}).values()
    end_attempts(session, [(again, AttemptEnding.LOST)], 9.0)
    end_attempts(session, [(again, AttemptEnding.PREPROCESSED)], 10.0)
    with pytest.raises(ServiceError) as late:
        end_attempts(session, [(first, AttemptEnding.FAILED)], 11.0)
    assert late.value.code == "attempt_over"
    assert (first.ending, first.ended_at) == (None, None)
