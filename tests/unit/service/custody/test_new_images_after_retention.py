"""Retention took a study's images, and then others of it come: what is new is an input of its own, what went is only known."""

import pytest

from med3d_service.custody.erasure.rows import versions_of
from med3d_service.custody.ledger import Ledger
from med3d_service.custody.retention import Retention
from rig.service.arriving import slices
from rig.service.examination_day import ExaminationDay

T1, SECOND_T1, FLAIR = slices(4, series="t1"), slices(5, series="second t1"), slices(6, series="flair")
A_MOMENT_DAYS = 1e-9


@pytest.fixture
def day(tmp_path):
    """An answered study whose images retention has removed."""
    made = ExaminationDay(tmp_path)
    made.arrive(*T1)
    made.copy()
    made.work(finds_t1=True)
    assert remove_inputs(made) == {"input": 1}
    yield made
    made.intake.arrivals.close()
    made.intake.database.close()


def remove_inputs(day):
    settings = day.intake.settings.model_copy(update={"retain_input_days": A_MOMENT_DAYS})
    intake = day.intake
    return Retention(settings, intake.database, intake.store, intake.vault, intake.trail).sweep()


def balance(day):
    ledger = Ledger(day.intake.settings, day.intake.database, day.intake.store).check(digests=True)
    # The working copies of this day are made by hand, and lie in no store.
    return {code: count for code, count in ledger.counts.items() if not code.startswith("working_copy")}


def test_another_t1_gets_a_run_that_supersedes_the_earlier_answer(day):
    assert day.arrive(*SECOND_T1) == ["stored"] * 5
    day.copy()
    day.appraise(of_5=["second t1"])
    assert day.statuses() == ["completed", "queued"]
    before, now = day.runs()
    assert before.superseded_by == now.id
    assert [study.files for study in day.studies()] == [4, 5], "the new version holds the new images alone"
    day.work(finds_t1=True)
    assert day.statuses() == ["completed", "completed"]
    assert balance(day) == {}


def test_a_flair_opens_nothing_and_goes_in_its_time(day):
    day.arrive(*FLAIR)
    day.copy()
    day.appraise(of_6=[])
    assert day.statuses() == ["completed"]
    assert balance(day) == {}
    assert day.intake.originals() == 6
    assert remove_inputs(day) == {"input": 1}
    assert day.intake.originals() == 0
    assert balance(day) == {}


def test_what_went_is_known_and_not_taken_back_also_with_other_headers(day):
    coerced = slices(4, series="t1", StationName="OTHER")
    assert day.arrive(*T1) == ["known"] * 4
    assert day.arrive(*coerced) == ["known"] * 4
    assert day.statuses() == ["completed"]
    assert day.intake.originals() == 0
    assert balance(day) == {}


def test_more_new_images_join_the_version_of_the_new_ones(day):
    day.arrive(*FLAIR)
    day.copy()
    day.appraise(of_6=[])
    day.arrive(*SECOND_T1)
    assert [study.files for study in day.studies()] == [4, 11]
    day.copy()
    day.appraise(of_11=["second t1"])
    assert day.statuses() == ["completed", "queued"]


def test_after_a_second_removal_it_is_the_same_again(day):
    day.arrive(*FLAIR)
    day.copy()
    day.appraise(of_6=[])
    remove_inputs(day)
    day.arrive(*SECOND_T1)
    day.copy()
    day.appraise(of_5=["second t1"])
    assert day.statuses() == ["completed", "queued"]
    assert [study.files for study in day.studies()] == [4, 6, 5]
    assert balance(day) == {}


def test_a_version_that_no_worker_has_looked_at_yet_is_removed_with_the_others(day):
    day.arrive(*FLAIR)
    day.copy()
    assert remove_inputs(day) == {"input": 1}
    assert balance(day) == {}
    day.arrive(*SECOND_T1)
    day.copy()
    day.appraise(of_5=["second t1"])
    assert day.statuses() == ["completed", "queued"]


def test_the_versions_are_erased_together(day):
    day.arrive(*SECOND_T1)
    day.copy()
    day.appraise(of_5=["second t1"])
    ids = {study.id for study in day.studies()}
    with day.intake.database.read() as session:
        assert all(versions_of(session, study_id) == ids for study_id in ids)
