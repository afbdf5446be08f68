"""The state machine of runs, move by move; the stateful test walks it at random."""

import pytest
from sqlalchemy import select, update

from med3d_contract.results import BundleRef, Priority
from med3d_contract.work import ActiveAttempt
from med3d_service.problems import ServiceError
from med3d_service.runs import transitions
from med3d_service.storage.tables import AttemptRow, RunEventRow, RunRow
from rig.service.parts import LEASES, add_run, completed, failed, open_database, preprocessed, refused, worker
from rig.service.work import BUNDLE

OTHER_BUNDLE = BundleRef(name="other", version="2", digest="c" * 64)


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def read(database, run_id):
    with database.read() as session:
        return session.scalars(select(RunRow).where(RunRow.id == run_id)).one()


def claim(database, run_id, by=None):
    with database.write() as session:
        return transitions.claim_preprocess(session, run_id, by or worker(), LEASES).attempt


def claim_predict(database, limit=8, by=None):
    with database.write() as session:
        return [run.id for run in transitions.claim_predict(session, by or worker(), limit, LEASES)]


def prepare(database, run_id):
    attempt = claim(database, run_id)
    with database.write() as session:
        transitions.store_preprocessed(session, run_id, preprocessed(attempt))


def end(database, run_id, outcome):
    with database.write() as session:
        transitions.store_outcome(session, run_id, outcome, LEASES)


def let_leases_end(database):
    with database.write() as session:
        session.execute(update(RunRow).values(lease_expires_at=0.0).where(RunRow.lease_expires_at.is_not(None)))
    with database.write() as session:
        return transitions.lose_expired(session, LEASES)


def lose_workers(database):
    """Let leases end of which one heartbeat came."""
    with database.write() as session:
        in_work = session.scalars(select(RunRow).where(RunRow.lease_expires_at.is_not(None))).all()
        transitions.renew(session, [held(run.id, run.attempt) for run in in_work], LEASES)
    return let_leases_end(database)


def held(run_id, attempt, stage=None):
    return ActiveAttempt(run_id=run_id, attempt=attempt, stage=stage)


def events(database, run_id):
    with database.read() as session:
        rows = session.scalars(select(RunEventRow).where(RunEventRow.run_id == run_id).order_by(RunEventRow.seq))
        return [row.status for row in rows]


def refusal_code(call, *arguments):
    with pytest.raises(ServiceError) as caught:
        call(*arguments)
    return caught.value.code


def test_a_run_goes_from_queued_to_completed_and_says_so_step_by_step(database):
    run_id = add_run(database)
    prepare(database, run_id)
    assert claim_predict(database) == [run_id]
    end(database, run_id, completed(2))
    run = read(database, run_id)
    assert (run.status, run.result["brain_age"]["estimate"]) == ("completed", 52.0)
    assert run.finished_at >= run.started_at >= run.created_at
    assert events(database, run_id) == ["queued", "preprocessing", "preprocessed", "predicting", "completed"]


def test_a_run_is_claimed_once(database):
    run_id = add_run(database)
    claim(database, run_id)
    assert refusal_code(claim, database, run_id, worker("worker-2")) == "not_claimable"


def test_a_run_without_a_working_copy_is_not_handed_out(database):
    assert refusal_code(claim, database, add_run(database, working_status="waiting")) == "not_claimable"


def test_a_worker_without_the_bundle_is_sent_away(database):
    stranger = worker(bundles=(OTHER_BUNDLE,))
    assert refusal_code(claim, database, add_run(database), stranger) == "bundle_not_held"


def test_an_unknown_run_is_told_apart_from_a_taken_one(database):
    assert refusal_code(claim, database, "no-such-run") == "unknown_run"


def test_a_lost_stage_is_tried_three_times_and_then_the_run_has_failed_with_its_fault(database):
    run_id = add_run(database)
    for attempt in (1, 2):
        assert claim(database, run_id) == attempt
        assert lose_workers(database) == [run_id]
        assert read(database, run_id).status == "queued"
    claim(database, run_id)
    lose_workers(database)
    run = read(database, run_id)
    assert (run.status, run.failure["code"], run.tries) == ("failed", "worker_lost", 3)


def test_a_claim_whose_holder_was_never_heard_of_costs_nothing_however_often(database):
    run_id = add_run(database)
    for attempt in range(1, LEASES.max_tries + 2):
        assert claim(database, run_id) == attempt
        assert let_leases_end(database) == [run_id]
    run = read(database, run_id)
    assert (run.status, run.tries, run.retries) == ("queued", 0, 0)
    for _ in range(LEASES.max_tries):  # and who takes its worker along ends as ever
        claim(database, run_id)
        lose_workers(database)
    assert read(database, run_id).status == "failed"


def test_runs_of_a_batch_whose_claim_was_never_heard_of_are_taken_together_again(database):
    run_ids = queue_of(database, 3)
    claim_several(database, run_ids[0], 3)
    let_leases_end(database)
    assert list(claim_several(database, run_ids[0], 3)) == run_ids


def test_a_fault_told_late_of_a_claim_that_was_not_heard_of_is_charged_once(database):
    run_id = add_run(database)
    claim(database, run_id)
    let_leases_end(database)
    end(database, run_id, failed(1, retryable=True))
    assert (read(database, run_id).tries, read(database, run_id).retries) == (1, 1)
    claim(database, run_id)
    lose_workers(database)
    end(database, run_id, failed(2, retryable=True))
    assert (read(database, run_id).tries, read(database, run_id).retries) == (2, 2)


def test_a_retryable_fault_goes_back_to_the_last_waiting_state_and_another_fault_ends_the_run(database):
    run_id = add_run(database)
    prepare(database, run_id)
    claim_predict(database)
    end(database, run_id, failed(2, retryable=True))
    assert read(database, run_id).status == "preprocessed"
    claim_predict(database)
    end(database, run_id, failed(3, retryable=False))
    assert (read(database, run_id).status, read(database, run_id).failure["code"]) == ("failed", "out_of_memory")


def test_the_answer_of_a_worker_thought_lost_is_taken_while_nobody_else_has_begun(database):
    run_id = add_run(database)
    prepare(database, run_id)
    claim_predict(database)
    let_leases_end(database)
    end(database, run_id, completed(2))
    assert read(database, run_id).status == "completed"


def test_the_answer_of_an_older_attempt_is_turned_away_once_a_newer_one_exists(database):
    run_id = add_run(database)
    prepare(database, run_id)
    claim_predict(database)
    let_leases_end(database)
    claim_predict(database, by=worker("worker-2"))
    assert refusal_code(end, database, run_id, completed(2)) == "attempt_over"
    end(database, run_id, completed(3))
    assert events(database, run_id).count("completed") == 1


def test_the_same_outcome_again_is_no_error_and_changes_nothing(database):
    run_id = add_run(database)
    claim(database, run_id)
    end(database, run_id, refused(1))
    before = events(database, run_id)
    end(database, run_id, refused(1))
    assert events(database, run_id) == before
    assert refusal_code(end, database, run_id, failed(1, retryable=True)) == "attempt_over"


def test_the_same_preprocessed_again_is_no_error(database):
    run_id = add_run(database)
    prepare(database, run_id)
    with database.write() as session:
        transitions.store_preprocessed(session, run_id, preprocessed(1))
    assert read(database, run_id).status == "preprocessed"


def test_what_was_left_is_no_error_again_after_the_next_stage_has_begun(database):
    run_id = add_run(database)
    prepare(database, run_id)
    claim_predict(database)
    with database.write() as session:
        assert transitions.store_all_preprocessed(session, {run_id: preprocessed(1)}) == set()
    assert read(database, run_id).status == "predicting"


def test_a_late_fault_of_the_preprocess_stage_does_not_touch_the_predict_stage(database):
    run_id = add_run(database)
    prepare(database, run_id)
    claim_predict(database)
    assert refusal_code(end, database, run_id, failed(1, retryable=True)) == "attempt_over"
    assert read(database, run_id).status == "predicting"


def test_a_result_cannot_come_from_the_preprocess_stage(database):
    run_id = add_run(database)
    claim(database, run_id)
    assert refusal_code(end, database, run_id, completed(1)) == "attempt_over"


def test_a_refusal_keeps_series_and_quality(database):
    run_id = add_run(database)
    claim(database, run_id)
    end(database, run_id, refused(1))
    run = read(database, run_id)
    assert (run.status, run.refusal["code"], run.series["chosen"]) == ("refused", "not_a_head", "series 1")
    assert run.quality["measures"] == {"overlap": 0.93}
    assert run.result is None


def test_after_a_lost_batch_its_runs_are_predicted_one_by_one_and_the_neighbours_are_not_charged(database):
    run_ids = [add_run(database) for _ in range(3)]
    for run_id in run_ids:
        prepare(database, run_id)
    assert claim_predict(database) == run_ids
    lose_workers(database)
    assert [read(database, run_id).tries for run_id in run_ids] == [0, 0, 0]
    poisonous = run_ids[0]
    for tries in (1, 2, 3):
        assert claim_predict(database) == [poisonous]
        lose_workers(database)
        assert read(database, poisonous).tries == tries
    assert read(database, poisonous).status == "failed"
    assert claim_predict(database) == [run_ids[1]]
    assert claim_predict(database) == [run_ids[2]]
    assert [read(database, run_id).tries for run_id in run_ids[1:]] == [0, 0]


def test_a_batch_holds_one_bundle_and_the_most_urgent_go_first(database):
    routine = add_run(database)
    other = add_run(database, bundle=OTHER_BUNDLE)
    cohort = add_run(database, priority=Priority.COHORT)
    stat = add_run(database, priority=Priority.STAT)
    both = worker(bundles=(BUNDLE, OTHER_BUNDLE))
    for run_id in (routine, other, cohort, stat):
        attempt = claim(database, run_id, both)
        with database.write() as session:
            transitions.store_preprocessed(session, run_id, preprocessed(attempt))
    assert claim_predict(database, 2, both) == [stat, routine]
    assert claim_predict(database, 8, both) == [other]
    assert claim_predict(database, 8, both) == [cohort]
    assert claim_predict(database, 8, both) == []


def test_a_heartbeat_renews_the_lease_and_names_the_stage(database):
    run_id = add_run(database)
    claim(database, run_id)
    with database.write() as session:
        session.execute(update(RunRow).values(lease_expires_at=0.0))
    with database.write() as session:
        transitions.renew(session, [held(run_id, 1, "bias field")], LEASES)
    with database.write() as session:
        assert transitions.lose_expired(session, LEASES) == []
    assert read(database, run_id).stage == "bias field"


def test_a_heartbeat_of_an_attempt_that_is_over_is_turned_away(database):
    run_id = add_run(database)
    claim(database, run_id)
    let_leases_end(database)

    with database.write() as session:
        assert transitions.renew(session, [held(run_id, 1)], LEASES) == {run_id}


def test_leases_get_a_grace_period_when_the_api_was_away(database):
    run_id = add_run(database)
    claim(database, run_id)
    with database.write() as session:
        session.execute(update(RunRow).values(lease_expires_at=0.0))
    with database.write() as session:
        transitions.grant_grace(session, LEASES)
        assert transitions.lose_expired(session, LEASES) == []


def test_stat_raises_a_waiting_run_and_nothing_lowers_it(database):
    run_id = add_run(database)
    with database.write() as session:
        assert transitions.raise_priority(session, run_id, Priority.STAT)
        assert not transitions.raise_priority(session, run_id, Priority.COHORT)
    assert read(database, run_id).priority == 0


def test_every_attempt_is_on_record_with_its_ending(database):
    run_id = add_run(database)
    claim(database, run_id)
    let_leases_end(database)
    claim(database, run_id)
    end(database, run_id, refused(2))
    with database.read() as session:
        rows = session.scalars(select(AttemptRow).order_by(AttemptRow.number)).all()
    assert [(row.number, row.ending, row.ended_at is not None) for row in rows] == [
        (1, "lost", True),
        (2, "refused", True),
    ]


@pytest.mark.parametrize("code", ["disk_full", "store_unavailable", "api_unavailable"])
def test_a_fault_of_the_surroundings_uses_up_no_tries_and_is_not_tried_again_at_once(database, code):
    run_id = add_run(database)
    for attempt in range(1, 6):
        claim(database, run_id)
        end(database, run_id, failed(attempt, retryable=True, code=code))
        run = read(database, run_id)
        assert (run.status, run.tries, run.failure) == ("queued", 0, None)
        assert run.dispatched_at is not None


def queue_of(database, count, priority=Priority.COHORT):
    return [add_run(database, priority) for _ in range(count)]


def claim_several(database, run_id, limit, by=None):
    with database.write() as session:
        runs = transitions.claim_preprocess_with_batch_mates(session, run_id, by or worker(), limit, LEASES)
        return {run.id: run.attempt for run in runs}


def mark_sent(database, *run_ids):
    with database.write() as session:
        session.execute(update(RunRow).where(RunRow.id.in_(run_ids)).values(dispatched_at=1.0))


def test_a_run_is_claimed_with_companions_first_of_all_those_that_no_task_was_sent_for(database):
    first, sent, *others = queue_of(database, 5)
    mark_sent(database, first, sent)
    assert claim_several(database, first, 3) == dict.fromkeys((first, *others[:2]), 1)
    assert [read(database, run_id).status for run_id in (sent, others[2])] == ["queued", "queued"]
    assert events(database, others[0]) == ["queued", "preprocessing"]
    assert list(claim_several(database, sent, 3)) == [sent, others[2]]


def test_at_the_end_of_a_line_the_company_is_of_those_whose_task_is_still_far(database):
    run_ids = queue_of(database, 4)
    mark_sent(database, *run_ids)
    assert list(claim_several(database, run_ids[0], 3)) == [run_ids[0], run_ids[3], run_ids[2]]


def test_companions_have_the_same_urgency_and_bundle_and_a_working_copy(database):
    first = add_run(database, Priority.STAT)
    add_run(database, Priority.COHORT)
    add_run(database, Priority.STAT, bundle=OTHER_BUNDLE)
    add_run(database, Priority.STAT, working_status="copying")
    both = worker(bundles=(BUNDLE, OTHER_BUNDLE))
    assert list(claim_several(database, first, 8, both)) == [first]


def test_after_a_lost_claim_of_several_each_is_taken_alone_and_nobody_is_charged(database):
    run_ids = queue_of(database, 3)
    claim_several(database, run_ids[0], 3)
    lose_workers(database)
    assert [read(database, run_id).tries for run_id in run_ids] == [0, 0, 0]
    assert list(claim_several(database, run_ids[0], 3)) == run_ids[:1]


def test_what_was_not_begun_goes_back_to_wait_uncharged_and_is_somebody_elses(database):
    run_id = add_run(database)
    claim(database, run_id)
    with database.write() as session:
        assert transitions.release(session, [held(run_id, 1)]) == set()
    run = read(database, run_id)
    assert (run.status, run.tries, run.retries, run.lease_expires_at) == ("queued", 0, 0, None)
    assert refusal_code(end, database, run_id, refused(1)) == "attempt_over"
    assert claim(database, run_id, worker("worker-2")) == 2
    with database.write() as session:
        assert transitions.release(session, [held(run_id, 1)]) == {run_id}
    assert read(database, run_id).status == "preprocessing"


def test_of_several_answers_at_once_those_that_are_over_change_nothing_and_the_others_are_taken(database):
    run_ids = [add_run(database) for _ in range(3)]
    for run_id in run_ids:
        prepare(database, run_id)
    claim_predict(database)
    let_leases_end(database)
    assert claim_predict(database, 1, worker("worker-2")) == run_ids[:1]
    said = {run_id: completed(2) for run_id in run_ids} | {"no-such-run": completed(2)}
    with database.write() as session:
        assert transitions.store_all_outcomes(session, said, LEASES) == {run_ids[0], "no-such-run"}
    assert [read(database, run_id).status for run_id in run_ids] == ["predicting", "completed", "completed"]
    with database.write() as session:
        assert transitions.store_all_outcomes(session, said, LEASES) == {run_ids[0], "no-such-run"}
    assert events(database, run_ids[1]).count("completed") == 1
