"""When a study that arrives by itself is complete, what it waits for, and when what came late supersedes an answer."""

import pytest
from sqlalchemy import delete, select

from med3d_service.runs import transitions
from med3d_service.runs.bundles import register_bundles
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.tables import BundleRow
from med3d_service.studies.own_objects import own_uid
from rig.service.arriving import slices
from rig.service.examination_day import ExaminationDay
from rig.service.parts import LEASES, refused, worker
from rig.service.work import BUNDLE


@pytest.fixture
def day(tmp_path):
    made = ExaminationDay(tmp_path)
    yield made
    made.intake.database.close()


T1, LATE_T1 = slices(4, series="t1"), slices(5, series="another t1")
SCOUT, FLAIR = slices(2, series="scout"), slices(3, series="flair")


def test_nothing_is_settled_while_instances_come(tmp_path):
    day = ExaminationDay(tmp_path, quiet_s=60.0)
    day.arrive(*T1)
    assert day.statuses() == []
    day.intake.database.close()


def test_a_quiet_study_gets_a_run(day):
    day.arrive(*T1)
    assert day.statuses() == ["queued"]


def test_a_study_waits_for_a_bundle_without_losing_its_place(tmp_path):
    day = ExaminationDay(tmp_path)
    with day.intake.database.write() as session:
        session.execute(delete(BundleRow))
    day.arrive(*T1)
    assert day.statuses() == []
    with day.intake.database.write() as session:
        register_bundles(session, [BUNDLE])
    day.sweep()
    assert day.statuses() == ["queued"]
    day.intake.database.close()


def test_a_study_without_a_usable_t1_goes_on_waiting_and_answers_nothing(day):
    day.arrive(*SCOUT)
    day.copy()
    day.work(finds_t1=False)
    day.sweep()
    assert (day.statuses(), [study.working_status for study in day.studies()]) == (["queued"], [CopyStatus.PARKED])


def test_the_t1_that_comes_later_joins_the_study_that_waits(day):
    day.arrive(*SCOUT)
    day.copy()
    day.work(finds_t1=False)
    day.arrive(*T1)
    assert [(study.files, study.working_status) for study in day.studies()] == [(6, "waiting")]
    day.copy()
    day.work(finds_t1=True)
    assert day.statuses() == ["completed"]


def test_a_t1_that_comes_while_the_worker_finds_none_gets_a_run_in_place_of_the_waiting_one(day):
    day.arrive(*SCOUT)
    day.copy()
    run = day.runs()[0]
    with day.intake.database.write() as session:
        transitions.claim_preprocess(session, run.id, worker(bundles=(BUNDLE,)), LEASES)
    day.arrive(*T1)
    with day.intake.database.write() as session:
        transitions.store_outcome(session, run.id, refused(1, "no_t1w_series", series=None), LEASES)
    day.copy()
    day.appraise(of_2=[], of_6=["t1"])
    assert day.statuses() == ["cancelled", "queued"]


def test_when_the_wait_is_over_the_refusal_is_the_answer(tmp_path):
    day = ExaminationDay(tmp_path, t1_wait_s=0.0)
    day.arrive(*SCOUT)
    day.copy()
    day.work(finds_t1=False)
    assert day.statuses() == ["refused"]
    day.intake.database.close()


def test_a_parked_study_is_let_go_when_its_wait_ends(day):
    day.arrive(*SCOUT)
    day.copy()
    day.work(finds_t1=False)
    with day.intake.database.write() as session:
        session.scalars(select(ArrivalRow)).one().wait_until = 1.0
    day.sweep()
    day.work(finds_t1=False)
    assert day.statuses() == ["refused"]


def test_who_says_that_no_more_will_come_gets_the_refusal_at_once(day):
    day.arrive(*SCOUT)
    day.copy()
    day.work(finds_t1=False)
    day.intake.arrivals.mark_final("default", "1.2.3")
    day.sweep()
    day.work(finds_t1=False)
    assert day.statuses() == ["refused"]


def answered(day):
    day.arrive(*T1)
    day.copy()
    day.work(finds_t1=True)


def test_an_identical_resend_opens_nothing(day):
    answered(day)
    assert set(day.arrive(*T1)) == {"known"}
    assert (day.statuses(), len(day.studies())) == (["completed"], 1)


def test_our_own_objects_coming_back_open_nothing(day):
    answered(day)
    report, picture = slices(2)
    report.SOPClassUID, picture.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.34", own_uid("x")
    assert set(day.arrive(report, picture)) == {"ignored"}
    assert (day.statuses(), len(day.studies())) == (["completed"], 1)


def test_a_late_flair_opens_nothing(day):
    answered(day)
    day.arrive(*FLAIR)
    day.copy()
    day.appraise(of_4=["t1"], of_7=["t1"])
    assert day.statuses() == ["completed"]


def test_a_late_t1_opens_a_superseding_run(day):
    answered(day)
    day.arrive(*FLAIR)
    day.copy()
    day.appraise(of_4=["t1"], of_7=["t1"])
    day.arrive(*LATE_T1)
    day.copy()
    day.appraise(of_12=["t1", "another t1"])
    first, second = day.runs()
    assert (first.status, first.superseded_by, second.status) == ("completed", second.id, "queued")
    day.work(finds_t1=True)
    assert [run.superseded_by is None for run in day.runs()] == [False, True]


def test_without_a_finding_nothing_is_superseded_yet(day):
    answered(day)
    day.arrive(*LATE_T1)
    day.copy()
    assert day.statuses() == ["completed"]
    assert [kind for _, kind, _ in day.broker.sent] == ["appraisal", "appraisal"]
    day.broker.in_queue = 1
    day.sweep()
    assert len(day.broker.sent) == 2


def test_other_pixels_under_a_known_uid_put_the_answer_in_doubt(day):
    answered(day)
    changed = slices(4, series="t1")[0]
    changed.PixelData = bytes(len(changed.PixelData))
    assert day.arrive(changed) == ["conflict"]
    day.copy()
    first, second = day.runs()
    assert (first.superseded_by, second.status, second.refusal["code"]) == (second.id, "refused", "inconsistent_study")
