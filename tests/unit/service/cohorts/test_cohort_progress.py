import pytest

from med3d_service.cohorts import reprocessing
from med3d_service.cohorts.progress import cohort_progress
from med3d_service.problems import ServiceError
from med3d_service.runs import transitions
from med3d_service.storage.database import db_now
from med3d_service.storage.tables import BundleRow, WorkerRow
from rig.service.cohorts import CARRIES_BOTH, NEXT_BUNDLE, add_members, new_cohort, predict, prepare, runs_of
from rig.service.parts import LEASES, add_study, open_database
from rig.service.work import BUNDLE


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def progress(database, cohort, bundle=None):
    with database.read() as session:
        return cohort_progress(session, cohort, bundle, worker_silent_s=20)


def begun(database, count, bundle=BUNDLE):
    cohort = new_cohort(database, count)
    with database.write() as session:
        row = reprocessing.begin(session, cohort, session.get_one(BundleRow, bundle.digest), in_window=False)
        reprocessing.feed(session, row, 100)
    return cohort


def test_members_are_counted_by_where_they_stand(database):
    cohort = begun(database, 7)
    runs = runs_of(database)
    for run in runs[:5]:
        prepare(database, run.id)
    answers = {runs[0].id: 50.0, runs[1].id: "not_a_head", runs[2].id: "broken"}
    predict(database, lambda run: answers[run.id], limit=3)
    with database.write() as session:
        transitions.claim_predict(session, CARRIES_BOTH, 1, LEASES)
        transitions.claim_preprocess(session, runs[5].id, CARRIES_BOTH, LEASES)
        add_members(session, cohort, [add_study(session), add_study(session, "copying")])
    counts = progress(database, cohort).members
    assert counts.model_dump() == {
        "copying": 1, "waiting": 1, "queued": 1, "preprocessing": 1, "preprocessed": 1, "predicting": 1, "completed": 1,
        "refused": 1, "failed": 1,
    }  # fmt: skip
    assert (counts.all, counts.ended) == (9, 3)


def test_rate_time_left_and_the_slowest_stage_are_told(database):
    cohort = begun(database, 4)
    for run in runs_of(database):
        prepare(database, run.id)
    predict(database, lambda run: 50.0, limit=3)
    found = progress(database, cohort)
    assert 0 < found.rate_per_s <= 3
    assert found.seconds_left == pytest.approx(1 / found.rate_per_s, abs=0.5)
    assert (found.slowest_stage, found.stages[0].mean_s) == ("reading headers", 0.5)


def test_what_ended_without_a_number_is_grouped_by_code_and_named(database):
    cohort = begun(database, 6)
    runs = runs_of(database)
    for run in runs:
        prepare(database, run.id)
    codes = iter(["broken", "too_noisy", "not_a_head", "too_noisy", "broken_otherwise", "too_noisy"])
    predict(database, lambda run: next(codes))
    problems = progress(database, cohort).problems
    assert [(p.status, p.code, p.count) for p in problems] == [
        ("failed", "broken", 1), ("failed", "broken_otherwise", 1), ("refused", "too_noisy", 3), ("refused", "not_a_head", 1)
    ]  # fmt: skip
    assert problems[2].study_ids == tuple(runs[number].study_id for number in (1, 3, 5))


def test_each_bundle_has_its_own_progress_and_the_one_under_way_is_shown(database):
    cohort = begun(database, 2)
    assert progress(database, cohort).bundle == BUNDLE
    other = progress(database, cohort, "bundle@2")
    assert (other.bundle, other.status, other.members.waiting) == (NEXT_BUNDLE, None, 2)
    with pytest.raises(ServiceError, match="unknown_bundle"):
        progress(database, cohort, "bundle@9")


def test_live_workers_that_carry_the_bundle_are_counted(database):
    cohort = begun(database, 1)
    with database.write() as session:
        for name, bundle, seen in (("a", BUNDLE, 0), ("b", NEXT_BUNDLE, 0), ("c", BUNDLE, 60)):
            session.add(
                WorkerRow(
                    worker_id=name, contract_version=3, software={}, providers=[], queues=[], seen_at=db_now() - seen,
                    bundles=[bundle.model_dump(mode="json")],
                )
            )  # fmt: skip
    assert progress(database, cohort).workers == 1
