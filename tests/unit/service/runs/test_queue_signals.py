"""What an autoscaler is told of each queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from med3d_service.runs import transitions
from med3d_service.runs.queueing.queue_signals import FIRST_GUESS_S, desired_workers, queue_signals
from med3d_service.storage.tables import AttemptRow, RunRow
from rig.service.parts import LEASES, add_run, completed, open_database, preprocessed, worker


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def signals(database, target_s=600.0):
    with database.read() as session:
        return {one.queue: one for one in queue_signals(session, database.now(), target_s)}


def claim(database, run_id):
    with database.write() as session:
        transitions.claim_preprocess(session, run_id, worker(), LEASES)


def prepare(database, run_id):
    claim(database, run_id)
    with database.write() as session:
        transitions.store_preprocessed(session, run_id, preprocessed(1))


def test_an_idle_service_wants_nobody(database):
    assert {(one.waiting, one.in_work, one.desired_workers) for one in signals(database).values()} == {(0, 0, 0)}


def test_each_queue_tells_what_waits_and_what_is_in_work(database):
    waiting, in_work, ready = (add_run(database) for _ in range(3))
    add_run(database, working_status="waiting")
    claim(database, in_work)
    prepare(database, ready)
    with database.write() as session:
        session.execute(update(RunRow).where(RunRow.id == waiting).values(created_at=RunRow.created_at - 90))
    found = signals(database)
    assert (found["preprocess"].waiting, found["preprocess"].in_work) == (1, 1)
    assert found["preprocess"].oldest_s == pytest.approx(90, abs=20)
    assert (found["predict"].waiting, found["predict"].in_work) == (1, 0)
    assert found["courier"].waiting == 1


def test_what_is_held_back_waits_for_no_worker(database):
    add_run(database)
    with database.write() as session:
        session.execute(update(RunRow).values(held=True))
    assert (signals(database)["preprocess"].waiting, signals(database)["preprocess"].desired_workers) == (0, 0)


def test_a_stage_is_as_long_as_it_was_lately_and_a_batch_is_shared_by_its_runs(database):
    run_ids = [add_run(database) for _ in range(2)]
    assert signals(database)["preprocess"].run_s == FIRST_GUESS_S
    for run_id in run_ids:
        prepare(database, run_id)
    with database.write() as session:
        transitions.claim_predict(session, worker(), 2, LEASES)
        for run_id in run_ids:
            transitions.store_outcome(session, run_id, completed(2), LEASES)
        session.execute(update(AttemptRow).values(ended_at=AttemptRow.claimed_at + 4.0))
    found = signals(database)
    assert found["preprocess"].run_s == pytest.approx(4.0)
    assert found["predict"].run_s == pytest.approx(2.0)


def test_a_clock_that_was_set_back_measures_no_stage_and_sends_no_worker_away(database):
    """With none left no stage would end, and what was measured would never be measured anew."""
    first, second, _ = (add_run(database) for _ in range(3))
    for run_id in (first, second):
        prepare(database, run_id)
    with database.write() as session:
        session.execute(update(AttemptRow).values(ended_at=AttemptRow.claimed_at + 4.0))
        back = update(AttemptRow).where(AttemptRow.run_id == first)
        session.execute(back.values(ended_at=AttemptRow.claimed_at - 3600.0))
    found = signals(database)["preprocess"]
    assert (found.run_s, found.desired_workers) == (pytest.approx(4.0), 1)


def test_the_workers_that_are_wanted_work_off_the_queue_in_time(database):
    for _ in range(30):
        add_run(database)
    assert signals(database, target_s=50.0)["preprocess"].desired_workers == 30 * FIRST_GUESS_S / 50.0


@given(runs=st.integers(0, 10**6), run_s=st.floats(0.001, 100), target_s=st.floats(1, 10_000))
def test_nobody_is_wanted_for_nothing_and_never_more_than_there_are_runs(runs, run_s, target_s):
    wanted = desired_workers(runs, run_s, target_s)
    assert (wanted > 0) == (runs > 0)
    assert wanted <= runs
    assert wanted == runs or wanted * target_s >= runs * run_s * 0.999999
