"""Nights by the clock, with the clock in the test's hand (Berlin, 5 January 2026: 22:00 is 21:00 UTC)."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, select

from med3d_contract.cohorts import MemberFilter, NightSchedule
from med3d_service.cohorts import reprocessing
from med3d_service.cohorts.nights import tend_cohorts
from med3d_service.cohorts.progress import cohort_progress
from med3d_service.cohorts.tables import CohortRow, ReprocessingRow
from med3d_service.runs.bundles import make_default
from med3d_service.storage.tables import BundleRow
from rig.service.cohorts import NEXT_BUNDLE, add_members, new_cohort, predict, prepare, runs_of
from rig.service.parts import add_study, open_database
from rig.service.work import BUNDLE

SCHEDULE = NightSchedule(time_zone="Europe/Berlin")


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def tend(database, clock, ahead=100):
    return tend_cohorts(database, ahead, datetime.fromisoformat(clock).replace(tzinfo=UTC))


def reprocessings(database):
    with database.read() as session:
        rows = session.scalars(select(ReprocessingRow).order_by(ReprocessingRow.seq))
        return [(row.status, row.bundle_digest[0]) for row in rows]


def answer_all(database, bundle=BUNDLE):
    for run in runs_of(database, bundle):
        if run.status == "queued":
            prepare(database, run.id)
    predict(database, lambda run: 50.0)


def test_a_night_begins_at_its_hour_rests_in_the_morning_and_goes_on_the_next_night(database):
    new_cohort(database, 3, schedule=SCHEDULE)
    assert tend(database, "2026-01-05T20:59") == 0
    assert tend(database, "2026-01-05T21:00", ahead=2) == 2
    tend(database, "2026-01-06T05:00")
    assert reprocessings(database) == [("waiting", "b")]
    assert [run.held for run in runs_of(database)] == [True, True]
    assert tend(database, "2026-01-06T12:00") == 0
    assert tend(database, "2026-01-06T21:00") == 1
    assert reprocessings(database) == [("running", "b")]
    answer_all(database)
    tend(database, "2026-01-06T21:01")
    assert reprocessings(database) == [("finished", "b")]


def test_a_night_that_is_done_is_not_begun_again_before_the_next_and_then_takes_what_is_new(database):
    new_cohort(database, 1, schedule=SCHEDULE, member_filter=MemberFilter())
    tend(database, "2026-01-05T21:00")
    with database.write() as session:
        add_study(session)  # it fits the filter, but the night has begun
    made = len(runs_of(database))
    answer_all(database)
    for clock in ("2026-01-05T22:00", "2026-01-05T23:00"):
        tend(database, clock)
    assert len(runs_of(database)) == made
    assert tend(database, "2026-01-06T21:00") == 1
    assert [status for status, _ in reprocessings(database)] == ["finished", "running"]


def test_the_night_of_a_cohort_that_is_filled_by_night_begins_with_its_first_member(database):
    cohort = new_cohort(database, 0, schedule=SCHEDULE)
    assert tend(database, "2026-01-05T21:00") == 0
    assert reprocessings(database) == []
    with database.write() as session:
        add_members(session, cohort, [add_study(session)])
    assert tend(database, "2026-01-05T21:01") == 1


def test_a_service_that_was_down_at_the_hour_begins_when_it_comes_up(database):
    new_cohort(database, 1, schedule=SCHEDULE)
    assert tend(database, "2026-01-06T03:17") == 1


def test_a_new_default_bundle_is_what_the_next_night_uses(database):
    new_cohort(database, 2, schedule=SCHEDULE)
    tend(database, "2026-01-05T21:00", ahead=1)
    with database.write() as session:
        make_default(session, session.get_one(BundleRow, NEXT_BUNDLE.digest))
    tend(database, "2026-01-05T22:00", ahead=1)
    assert reprocessings(database) == [("running", "b")]
    tend(database, "2026-01-06T05:00")
    assert tend(database, "2026-01-06T21:00") == 2
    assert reprocessings(database) == [("cancelled", "b"), ("running", "c")]


def test_a_bundle_that_was_removed_is_said_and_the_night_comes_when_there_is_one_again(database):
    cohort = new_cohort(database, 1, schedule=SCHEDULE, bundle="bundle@2")
    with database.write() as session:
        session.execute(delete(BundleRow).where(BundleRow.digest == NEXT_BUNDLE.digest))
    assert tend(database, "2026-01-05T21:00") == 0
    with database.read() as session:
        assert session.scalars(select(CohortRow.night_fault).where(CohortRow.id == cohort.id)).one() == "unknown_bundle"
    with database.write() as session:
        session.add(BundleRow(digest="c" * 64, name="bundle", version="2", first_seen_at=0.0, is_default=False))
    assert tend(database, "2026-01-06T21:00") == 1
    with database.read() as session:
        assert session.scalars(select(CohortRow.night_fault)).one() is None


def test_a_bundle_that_is_removed_while_its_night_rests_ends_that_night_and_no_other_cohort_s(database):
    cohort = new_cohort(database, 1, working_status="copying", schedule=SCHEDULE, bundle="bundle@2")
    other = new_cohort(database, 2, schedule=SCHEDULE)
    tend(database, "2026-01-05T21:00", ahead=1)
    tend(database, "2026-01-06T05:00")
    with database.write() as session:
        session.execute(delete(BundleRow).where(BundleRow.digest == NEXT_BUNDLE.digest))
    assert tend(database, "2026-01-06T21:00") == 1, "the other cohort's second member"
    with database.read() as session:
        faults = {row.id: row.night_fault for row in session.scalars(select(CohortRow))}
    assert faults == {cohort.id: "unknown_bundle", other.id: None}
    assert sorted(reprocessings(database)) == [("cancelled", "c"), ("running", "b")]


def test_three_members_in_a_hundred_that_fail_for_good_are_listed_and_no_night_tries_them_again(database):
    cohort = new_cohort(database, 100, schedule=SCHEDULE)
    tend(database, "2026-01-05T21:00")
    broken = {run.id for run in runs_of(database)[::40]}
    for run in runs_of(database):
        prepare(database, run.id)
    predict(database, lambda run: "broken" if run.id in broken else 50.0, limit=100)
    for clock in ("2026-01-05T21:30", "2026-01-06T21:00", "2026-01-07T21:00"):
        assert tend(database, clock) == 0
    assert reprocessings(database) == [("finished", "b")] * 3, "each night ends"
    with database.read() as session:
        progress = cohort_progress(session, cohort, None, worker_silent_s=60)
    assert (progress.members.completed, progress.members.failed) == (97, 3)
    (problem,) = progress.problems
    assert (problem.code, problem.count, len(problem.study_ids)) == ("broken", 3, 3)
    assert len(runs_of(database)) == 100, "nobody was tried again"


def test_a_pause_by_a_person_outlasts_the_night(database):
    cohort = new_cohort(database, 1, schedule=SCHEDULE)
    tend(database, "2026-01-05T21:00")
    with database.write() as session:
        reprocessing.rest(session, reprocessing.under_way(session, cohort.id), "paused")
    for clock in ("2026-01-06T05:00", "2026-01-06T21:00"):
        tend(database, clock)
    assert reprocessings(database) == [("paused", "b")]


def test_what_was_asked_for_by_day_does_not_wait_for_the_night(database):
    cohort = new_cohort(database, 1, schedule=SCHEDULE)
    with database.write() as session:
        reprocessing.begin(session, cohort, session.get_one(BundleRow, BUNDLE.digest), in_window=False)
    assert tend(database, "2026-01-05T12:00") == 1


def test_the_night_of_the_change_to_winter_time_is_worked_through_to_its_end(database):
    cohort = new_cohort(database, 1, schedule=SCHEDULE)
    tend(database, "2026-10-24T20:00")
    for hour in range(8):  # 22:00 summer time to 6:00 winter time are nine hours
        tend(database, f"2026-10-24T{21 + hour:02d}:30" if hour < 3 else f"2026-10-25T{hour - 3:02d}:30")
        assert reprocessings(database) == [("running", "b")]
    with database.write() as session:
        add_members(session, cohort, [add_study(session)])
    assert tend(database, "2026-10-25T04:59") == 1
    tend(database, "2026-10-25T05:00")
    assert reprocessings(database) == [("waiting", "b")]
