"""Sending tasks: after commit, once, and again only what was lost."""

import pytest
from sqlalchemy import select, update

from med3d_contract.queues import RUNS_PER_PREDICT_TASK
from med3d_contract.results import Priority
from med3d_service.runs import transitions
from med3d_service.runs.queueing import dispatch
from med3d_service.runs.queueing.dispatch import send_waiting
from med3d_service.storage.tables import RunRow
from rig.service.parts import LEASES, MemoryBroker, add_run, open_database, preprocessed, worker


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def send(database, broker):
    return send_waiting(database, broker, redispatch_s=10)


def age_sending(database, seconds=60):
    with database.write() as session:
        session.execute(update(RunRow).values(dispatched_at=RunRow.dispatched_at - seconds))


def test_a_waiting_run_is_sent_once_with_its_id_and_priority(database):
    broker, run_id = MemoryBroker(), add_run(database, Priority.STAT)
    assert [send(database, broker), send(database, broker)] == [1, 0]
    assert broker.sent == [(run_id, "queued", 0)]


def test_a_run_without_a_working_copy_is_not_sent(database):
    add_run(database, working_status="waiting")
    assert send(database, MemoryBroker()) == 0


def test_the_urgent_go_first(database):
    broker = MemoryBroker()
    runs = [add_run(database, priority) for priority in (Priority.COHORT, Priority.STAT, Priority.ROUTINE)]
    send(database, broker)
    assert [run_id for run_id, _, _ in broker.sent] == [runs[1], runs[2], runs[0]]


def test_what_a_broker_did_not_take_is_sent_when_it_is_back(database):
    broker, run_id = MemoryBroker(), add_run(database)
    broker.away = True
    assert send(database, broker) == 0
    broker.away = False
    assert send(database, broker) == 1
    assert [sent[0] for sent in broker.sent] == [run_id]


def test_what_was_sent_long_ago_is_sent_again_only_when_its_queue_is_empty(database):
    broker = MemoryBroker()
    add_run(database)
    send(database, broker)
    broker.in_queue = 1
    age_sending(database)
    assert send(database, broker) == 0
    broker.in_queue = 0
    assert send(database, broker) == 1
    assert send(database, broker) == 0, "not again before its time"


def test_a_preprocessed_run_is_sent_to_prediction(database):
    broker, run_id = MemoryBroker(), add_run(database)
    send(database, broker)
    with database.write() as session:
        attempt = transitions.claim_preprocess(session, run_id, worker(), LEASES).attempt
        transitions.store_preprocessed(session, run_id, preprocessed(attempt))
    send(database, broker)
    assert [status for _, status, _ in broker.sent] == ["queued", "preprocessed"]


def test_a_run_whose_lease_ended_is_sent_at_once(database):
    broker, run_id = MemoryBroker(), add_run(database)
    send(database, broker)
    with database.write() as session:
        transitions.claim_preprocess(session, run_id, worker(), LEASES)
    with database.write() as session:
        session.execute(update(RunRow).values(lease_expires_at=0.0))
        transitions.lose_expired(session, LEASES)
    broker.in_queue = 1
    assert send(database, broker) == 1


def test_a_run_that_was_raised_is_sent_again_with_its_new_priority(database):
    broker, run_id = MemoryBroker(), add_run(database, Priority.COHORT)
    send(database, broker)
    with database.write() as session:
        transitions.raise_priority(session, run_id, Priority.STAT)
    send(database, broker)
    assert [priority for _, _, priority in broker.sent] == [6, 0]


def test_a_long_line_is_sent_in_part_and_topped_up_as_its_queue_runs_dry(database):
    for _ in range(5):
        add_run(database, Priority.COHORT)
    broker = MemoryBroker()
    broker.in_queue = dispatch.MAX_QUEUED_TASKS - 2
    assert send(database, broker) == 2
    broker.in_queue = dispatch.MAX_QUEUED_TASKS
    assert send(database, broker) == 0
    broker.in_queue = 0
    assert send(database, broker) == 3


def test_a_stat_run_is_sent_past_a_full_queue_of_a_cohort(database):
    class FullOfCohort(MemoryBroker):
        def queue_depth(self, status, priority):
            return dispatch.MAX_QUEUED_TASKS if priority == 6 else 0

    add_run(database, Priority.COHORT)
    broker, stat = FullOfCohort(), add_run(database, Priority.STAT)
    assert send(database, broker) == 1
    assert broker.sent == [(stat, "queued", 0)]


def test_one_task_is_sent_for_many_runs_that_wait_for_prediction(database):
    run_ids = [add_run(database) for _ in range(RUNS_PER_PREDICT_TASK + 1)]
    with database.write() as session:
        for run_id in run_ids:
            transitions.claim_preprocess(session, run_id, worker(), LEASES)
        transitions.store_all_preprocessed(session, {run_id: preprocessed(1) for run_id in run_ids})
    broker = MemoryBroker()
    assert send(database, broker) == len(run_ids)
    assert [status for _, status, _ in broker.sent] == ["preprocessed"] * 2


def test_sending_leaves_the_run_as_it_was(database):
    run_id = add_run(database)
    send(database, MemoryBroker())
    with database.read() as session:
        run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
    assert (run.status, run.attempt, run.lease_expires_at) == ("queued", 0, None)
