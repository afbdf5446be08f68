"""Working a cohort through: what is run, what is left, and how it rests."""

import pytest
from sqlalchemy import update

from med3d_contract.cohorts import ReprocessingStatus
from med3d_contract.results import Failure, Priority
from med3d_contract.work import Failed
from med3d_service.cohorts import reprocessing
from med3d_service.cohorts.progress import cohort_progress
from med3d_service.cohorts.tables import ReprocessingRow
from med3d_service.problems import ServiceError
from med3d_service.runs import transitions
from med3d_service.runs.queueing.dispatch import send_waiting
from med3d_service.runs.queueing.holding import hold
from med3d_service.storage.tables import BundleRow, StudyRow, WorkerRow
from rig.service.cohorts import CARRIES_BOTH, NEXT_BUNDLE, add_members, new_cohort, predict, prepare, runs_of
from rig.service.parts import LEASES, MemoryBroker, add_study, open_database, preprocessed, worker
from rig.service.work import BUNDLE


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def begin(database, cohort, bundle=BUNDLE, **how):
    with database.write() as session:
        how = {"in_window": False} | how
        return reprocessing.begin(session, cohort, session.get_one(BundleRow, bundle.digest), **how).id


def change(database, cohort, what):
    with database.write() as session:
        what(session, reprocessing.under_way(session, cohort.id))


def feed(database, cohort, ahead=100):
    with database.write() as session:
        row = reprocessing.under_way(session, cohort.id)
        return None if row is None else reprocessing.feed(session, row, ahead)


def status(database, reprocessing_id):
    with database.read() as session:
        return session.query(ReprocessingRow).where(ReprocessingRow.id == reprocessing_id).one().status


def work_through(database, cohort, outcome_of=lambda run: 50.0, bundle=BUNDLE):
    """Until the reprocessing has ended."""
    while feed(database, cohort) is not None:
        for run in runs_of(database, bundle):
            if run.status == "queued":
                prepare(database, run.id)
        predict(database, outcome_of)


def test_runs_are_made_a_little_ahead_of_the_workers(database):
    cohort = new_cohort(database, 5)
    begin(database, cohort)
    assert (feed(database, cohort, ahead=2), feed(database, cohort, ahead=2)) == (2, 0)
    first = runs_of(database)[0]
    assert (first.priority, first.status) == (6, "queued")
    prepare(database, first.id)
    assert feed(database, cohort, ahead=2) == 0  # it waits for prediction
    predict(database, lambda run: 50.0)
    assert feed(database, cohort, ahead=2) == 1


def test_it_ends_when_every_member_has_its_answer_and_begins_nothing_twice(database):
    cohort = new_cohort(database, 3)
    first = begin(database, cohort)
    with pytest.raises(ServiceError, match="reprocessing_under_way"):
        begin(database, cohort)
    work_through(database, cohort)
    assert status(database, first) == "finished"
    second = begin(database, cohort)
    assert feed(database, cohort) == 0
    assert (status(database, second), len(runs_of(database))) == ("finished", 3)


def test_what_failed_for_good_is_left_and_run_again_once_when_it_is_asked_for(database):
    cohort = new_cohort(database, 4)
    begin(database, cohort)
    work_through(database, cohort, lambda run: "broken" if run.seq % 2 else 50.0)
    assert [run.status for run in runs_of(database)].count("failed") == 2
    begin(database, cohort)
    work_through(database, cohort)
    assert len(runs_of(database)) == 4  # another night does not try them
    begin(database, cohort, retry_faults=True)
    work_through(database, cohort, lambda run: "broken")
    runs = runs_of(database)
    assert (len(runs), sum(run.superseded_by is None for run in runs)) == (6, 4)


def test_a_pause_begins_nothing_more_finishes_what_is_in_work_and_what_comes_back_is_held_too(database):
    cohort = new_cohort(database, 3)
    begin(database, cohort)
    feed(database, cohort)
    in_work, waiting, _ = runs_of(database)
    with database.write() as session:
        attempt = transitions.claim_preprocess(session, in_work.id, CARRIES_BOTH, LEASES).attempt
    change(database, cohort, lambda session, row: reprocessing.rest(session, row, ReprocessingStatus.PAUSED))
    with database.write() as session, pytest.raises(ServiceError, match="not_claimable"):
        transitions.claim_preprocess(session, waiting.id, CARRIES_BOTH, LEASES)
    broker = MemoryBroker()
    assert send_waiting(database, broker, redispatch_s=0) == 0
    with database.write() as session:
        transitions.store_preprocessed(session, in_work.id, preprocessed(attempt))
        assert hold(session, in_work.reprocessing_id) == 1
        assert transitions.claim_predict(session, CARRIES_BOTH, 8, LEASES) == []
    change(database, cohort, reprocessing.go_on)
    assert send_waiting(database, broker, redispatch_s=0) == 3
    assert sorted(status for _, status, _ in broker.sent) == ["preprocessed", "queued", "queued"]


def test_somebody_who_asks_for_a_held_run_by_day_gets_it(database):
    cohort = new_cohort(database, 2)
    begin(database, cohort)
    feed(database, cohort)
    change(database, cohort, lambda session, row: reprocessing.rest(session, row, ReprocessingStatus.PAUSED))
    wanted = runs_of(database)[1]
    with database.write() as session:
        assert transitions.raise_priority(session, wanted.id, Priority.STAT)
    broker = MemoryBroker()
    send_waiting(database, broker, redispatch_s=0)
    assert broker.sent == [(wanted.id, "queued", 0)]


def test_a_cancelled_one_leaves_nothing_waiting_and_the_next_goes_on_behind_it(database):
    cohort = new_cohort(database, 3)
    first = begin(database, cohort)
    feed(database, cohort)
    prepare(database, runs_of(database)[0].id)
    predict(database, lambda run: 50.0)
    change(database, cohort, reprocessing.cancel)
    assert status(database, first) == "cancelled"
    assert [run.status for run in runs_of(database)] == ["completed", "cancelled", "cancelled"]
    begin(database, cohort)
    work_through(database, cohort)
    current = [run.status for run in runs_of(database) if run.superseded_by is None]
    assert current == ["completed"] * 3


def test_a_new_bundle_begins_at_prediction_where_it_preprocesses_alike(database):
    cohort = new_cohort(database, 2)
    begin(database, cohort)
    work_through(database, cohort)
    begin(database, cohort, NEXT_BUNDLE)
    feed(database, cohort)
    runs = runs_of(database, NEXT_BUNDLE)
    assert [run.status for run in runs] == ["preprocessed"] * 2
    assert runs[0].preprocessed["findings"]["provenance"]["timings_s"] == {}
    predict(database, lambda run: 60.0)
    assert [run.status for run in runs_of(database, NEXT_BUNDLE)] == ["completed"] * 2
    assert [run.status for run in runs_of(database)] == ["completed"] * 2, "the old answers stay"


def test_a_new_bundle_that_preprocesses_otherwise_begins_at_the_beginning(database):
    cohort = new_cohort(database, 1)
    begin(database, cohort)
    work_through(database, cohort)
    with database.write() as session:
        session.get_one(BundleRow, NEXT_BUNDLE.digest).preprocessing_digest = "q" * 64
    begin(database, cohort, NEXT_BUNDLE)
    feed(database, cohort)
    assert [run.status for run in runs_of(database, NEXT_BUNDLE)] == ["queued"]


def test_a_tensor_that_has_gone_from_the_store_is_made_again(database):
    cohort = new_cohort(database, 1)
    begin(database, cohort)
    work_through(database, cohort)
    begin(database, cohort, NEXT_BUNDLE)
    feed(database, cohort)
    with database.write() as session:
        (run,) = transitions.claim_predict(session, CARRIES_BOTH, 1, LEASES)
        gone = Failure(code="object_missing", reason="Gone.", retryable=True)
        transitions.store_outcome(session, run.id, Failed(attempt=run.attempt, failure=gone), LEASES)
    (run,) = runs_of(database, NEXT_BUNDLE)
    assert (run.status, run.preprocessed) == ("queued", None)
    work_through(database, cohort, bundle=NEXT_BUNDLE)
    assert [run.status for run in runs_of(database, NEXT_BUNDLE)] == ["completed"]


def test_a_worker_with_another_version_of_the_model_takes_nothing_of_the_night_which_waits_and_says_so(database):
    cohort = new_cohort(database, 2)
    begin(database, cohort)
    feed(database, cohort)
    first, second = runs_of(database)
    prepare(database, second.id)
    stranger = worker("stranger", bundles=(NEXT_BUNDLE,))
    with database.write() as session:
        carried = [bundle.model_dump(mode="json") for bundle in stranger.bundles]
        alive = {"seen_at": database.now(), "contract_version": 1, "software": {}, "providers": [], "queues": []}
        session.add(WorkerRow(worker_id="stranger", bundles=carried, **alive))
        assert transitions.claim_predict(session, stranger, 8, LEASES) == []
        with pytest.raises(ServiceError, match="bundle_not_held"):
            transitions.claim_preprocess(session, first.id, stranger, LEASES)
    with database.read() as session:
        progress = cohort_progress(session, cohort, None, worker_silent_s=60)
    assert (progress.workers, progress.members.queued, progress.members.preprocessed) == (0, 1, 1)
    work_through(database, cohort)
    assert [run.attempt for run in runs_of(database)] == [2, 2], "a claim for each stage: it cost nobody a try"


def test_a_member_that_joins_in_the_middle_is_worked_on_and_one_without_a_copy_is_waited_for(database):
    cohort = new_cohort(database, 1)
    first = begin(database, cohort)
    feed(database, cohort)
    with database.write() as session:
        late = add_study(session, "copying")
        add_members(session, cohort, [late])
    prepare(database, runs_of(database)[0].id)
    predict(database, lambda run: 50.0)
    assert (feed(database, cohort), status(database, first)) == (0, "running")
    with database.write() as session:
        session.execute(update(StudyRow).where(StudyRow.id == late).values(working_status="ready"))
    assert feed(database, cohort) == 1


def test_a_member_that_was_refused_at_intake_has_its_refusal_as_an_answer(database):
    cohort = new_cohort(database, 1, working_status="refused")
    with database.write() as session:
        session.execute(update(StudyRow).values(refusal={"code": "no_images", "reason": "None."}))
    first = begin(database, cohort)
    feed(database, cohort)
    feed(database, cohort)
    assert (runs_of(database)[0].refusal["code"], status(database, first)) == ("no_images", "finished")


def test_what_another_cohort_holds_is_taken_over(database):
    resting, cohort = new_cohort(database, 2), new_cohort(database, 0)
    begin(database, resting)
    feed(database, resting)
    change(database, resting, lambda session, row: reprocessing.rest(session, row, ReprocessingStatus.PAUSED))
    with database.write() as session:
        add_members(session, cohort, [run.study_id for run in runs_of(database)])
    mine = begin(database, cohort)
    feed(database, cohort)
    assert [(run.reprocessing_id, run.held) for run in runs_of(database)] == [(mine, False)] * 2
