"""The ledger: it balances over whatever may happen in a day, and finds each thing that must never happen."""

import json
import shutil
import threading

import pytest
from prometheus_client import generate_latest
from sqlalchemy import select, text, update

from med3d_contract.cohorts import ReprocessingStatus
from med3d_service.api.metrics import Metrics
from med3d_service.cohorts import reprocessing
from med3d_service.custody.ledger import ACCOUNTS, Ledger
from med3d_service.custody.ledger.tables import LedgerCheckRow
from med3d_service.runs import transitions
from med3d_service.runs.queueing.enqueuing import enqueue
from med3d_service.runs.superseding import supersede
from med3d_service.storage.tables import AttemptRow, BundleRow, ReportRow, RunEventRow, RunRow, StudyRow
from rig.processes.waiting import wait_until
from rig.service.arriving import slices
from rig.service.cohorts import new_cohort
from rig.service.examination_day import ExaminationDay
from rig.service.parts import LEASES, add_run, add_study, completed, preprocessed, worker

T1, LATE_T1 = slices(4, series="t1"), slices(5, series="another t1")
SCOUT = slices(2, series="scout")


class Books:
    """An examination day and its ledger."""

    def __init__(self, folder, **settings):
        self.day = ExaminationDay(folder, **settings)
        self.database, self.store = self.day.intake.database, self.day.intake.store
        self.ledger = Ledger(self.day.intake.settings, self.database, self.store)

    def check(self, **options):
        return self.ledger.check(**options)

    def execute(self, statement, **values):
        """SQL past all rules, as a fault of ours would do it."""
        with self.database.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            done = connection.execute(text(statement), values)
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
            assert done.rowcount > 0, "the fault was meant to change something"

    def in_work(self):
        run_id = add_run(self.database)
        with self.database.write() as session:
            transitions.claim_preprocess(session, run_id, worker(), LEASES)
            study_id = session.scalars(select(RunRow.study_id).where(RunRow.id == run_id)).one()
        self._give_working_copy(study_id)
        return run_id

    def _give_working_copy(self, study_id):
        stored = self.store.put(f"working/{study_id}.tar", b"files")
        self.execute(
            "UPDATE studies SET digest = :digest, working_key = :key, working_sha256 = :sha256 WHERE id = :id",
            digest=study_id.replace("-", "") * 2,
            key=stored.key,
            sha256=stored.sha256,
            id=study_id,
        )


@pytest.fixture
def books(tmp_path):
    made = Books(tmp_path)
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def full_day(tmp_path_factory):
    """A day with an answer, late instances that change nothing, one that no rule wants, and a run in work."""
    books = Books(tmp_path_factory.mktemp("full"))
    books.day.arrive(*T1)
    books.day.copy()
    books.day.work(finds_t1=True)
    books.day.arrive(*SCOUT)
    books.day.copy()
    books.day.appraise(of_4=["t1"], of_6=["t1"])
    books.in_work()
    books.day.arrive(*slices(1, series="ct", Modality="CT"))
    books.database.close()
    return books.day.intake.folder


@pytest.fixture
def full(full_day, tmp_path):
    """A copy of that day, to be broken."""
    made = Books(shutil.copytree(full_day, tmp_path / "day"))
    yield made
    made.database.close()


def test_the_ledger_of_an_empty_service_balances(books):
    assert books.check().balances


def test_it_balances_after_a_day_of_answers_late_instances_and_work_under_way(full):
    report = full.check(digests=True)
    assert report.balances, report.counts
    assert (report.studies, report.runs) == (3, 2)


def test_it_balances_where_late_instances_superseded_a_run_that_was_in_work(books):
    books.day.arrive(*T1)
    books.day.copy()
    books.day.work(finds_t1=True)
    books.day.arrive(*LATE_T1)
    books.day.copy()
    books.day.appraise(of_4=["t1"], of_9=["t1", "another t1"])
    assert books.day.statuses() == ["completed", "queued"]
    copy = books.store.put("working/x.tar", b"files")
    books.execute("UPDATE studies SET working_sha256 = :sha256", sha256=copy.sha256)
    assert books.check(digests=True).balances


def test_a_run_that_is_cancelled_in_work_leaves_no_attempt_in_hand(books):
    run_id = books.in_work()
    with books.database.write() as session:
        run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
        successor = enqueue(session, add_study(session), run.bundle_digest, run_id="s", priority="routine")
        supersede(session, run.study_id, successor)
    with books.database.read() as session:
        [attempt] = session.scalars(select(AttemptRow).where(AttemptRow.run_id == run_id))
        assert attempt.ending == "superseded"
    assert "attempt_disagrees" not in books.check().counts


FAULTS = {
    "study_without_run": ["DELETE FROM runs WHERE status = 'completed'"],
    "study_digest_disagrees": ["DELETE FROM instances WHERE digest = (SELECT min(digest) FROM instances)"],
    "late_version_undecided": [
        "UPDATE arrivals SET last_at = last_at - 200000",
        "UPDATE appraisals SET eligible = NULL",
    ],
    "run_waits_too_long": [
        "UPDATE runs SET status = 'queued', lease_expires_at = NULL WHERE status = 'preprocessing'",
        "UPDATE attempts SET ended_at = 1, ending = 'lost'",
        "UPDATE run_events SET at = at - 200000, status = 'queued' WHERE run_id IN (SELECT id FROM runs WHERE status = 'queued')",
    ],
    "lease_not_ended": ["UPDATE runs SET lease_expires_at = 0 WHERE status = 'preprocessing'"],
    "lease_without_work": ["UPDATE runs SET lease_expires_at = 9e9 WHERE status = 'completed'"],
    "answer_missing": ["UPDATE runs SET result = NULL WHERE status = 'completed'"],
    "events_disagree": ["DELETE FROM run_events WHERE seq = (SELECT max(seq) FROM run_events)"],
    "ended_twice": ["UPDATE run_events SET status = 'completed' WHERE status = 'predicting'"],
    "attempt_disagrees": ["UPDATE attempts SET ended_at = NULL WHERE ended_at IS NOT NULL"],
    "successor_missing": ["UPDATE runs SET superseded_by = 'nobody' WHERE status = 'completed'"],
    "instance_unaccounted": ["DELETE FROM instances WHERE study_id = (SELECT late_study_id FROM arrivals)"],
    "instance_count_disagrees": ["UPDATE arrivals SET instances = instances + 1"],
    "arrival_not_settled": ["UPDATE arrivals SET status = 'receiving', last_at = last_at - 200000"],
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_database_that_was_broken_on_purpose_is_found_out(full, code):
    for statement in FAULTS[code]:
        full.execute(statement)
    report = full.check()
    assert code in report.counts, report.counts
    assert any(finding.code == code and finding.subject for finding in report.findings)


def test_an_original_that_is_gone_is_found(full):
    gone = next(full.store.list("originals"))
    while gone.size_bytes == 0:
        gone = next(stored for stored in full.store.list("originals") if stored.size_bytes)
    full.store.delete(gone.key)
    report = full.check()
    assert report.counts == {"original_missing": 1}
    assert report.findings[0].subject in gone.key


def test_an_original_that_was_cut_is_found_by_its_size_and_one_that_was_altered_by_its_digest(full):
    first, second = [stored.key for stored in full.store.list("originals") if stored.size_bytes][:2]
    whole = full.store.get(first)
    full.store.put(first, whole[:-1])
    assert full.check().counts == {"original_altered": 1}
    full.store.put(first, whole)
    data = bytearray(full.store.get(second))
    data[100] ^= 1
    full.store.put(second, bytes(data))
    assert full.check().balances
    assert full.check(digests=True).counts == {"original_altered": 1}


def test_a_working_copy_that_is_still_needed_is_missed_and_one_that_is_not_is_not(full):
    with full.database.read() as session:
        [key] = session.scalars(select(StudyRow.working_key).where(StudyRow.working_key != "working/x.tar"))
    full.store.put(key, b"other files")
    assert full.check(digests=True).counts == {"working_copy_altered": 1}
    full.store.delete(key)
    assert full.check().counts == {"working_copy_missing": 1}


def test_a_tensor_that_a_run_waits_with_is_missed(books):
    run_id = books.in_work()
    with books.database.write() as session:
        transitions.store_preprocessed(session, run_id, preprocessed(1))
    assert books.check().counts == {"tensor_missing": 1}
    with books.database.write() as session:
        [run] = transitions.claim_predict(session, worker(), 1, LEASES)
        transitions.store_outcome(session, run_id, completed(run.attempt), LEASES)
    assert books.check().balances


def test_a_report_that_is_gone_or_was_altered_is_found(books):
    run_id = add_run(books.database, working_status="waiting")
    stored = books.store.put(f"reports/{run_id}/sr.1", b"sealed")
    with books.database.write() as session:
        row = {"run_id": run_id, "kind": "sr", "key": stored.key, "sha256": stored.sha256, "stored_bytes": 6}
        session.add(ReportRow(**row))
    assert books.check(digests=True).counts.keys() & {"report_missing", "report_altered"} == set()
    books.store.put(stored.key, b"other!")
    assert books.check(digests=True).counts["report_altered"] == 1
    books.store.delete(stored.key)
    assert books.check().counts["report_missing"] == 1


def test_every_code_has_its_test():
    by_the_store = {code for code in ACCOUNTS if code.startswith(("original", "working_copy", "tensor", "report"))}
    assert FAULTS.keys() | by_the_store == ACCOUNTS.keys()


def test_many_findings_are_counted_and_few_are_shown(books):
    for _ in range(120):
        add_run(books.database)
    books.execute("UPDATE runs SET status = 'completed'")
    report = books.check()
    assert report.counts["answer_missing"] == 120
    assert sum(finding.code == "answer_missing" for finding in report.findings) == 100


def test_what_a_check_found_is_a_metric_to_alert_on(full):
    metrics = Metrics(full.database, worker_silent_s=20, scale_target_s=600)
    assert b"med3d_ledger" not in generate_latest(metrics.registry)
    full.check()
    assert b'med3d_ledger_discrepancies{code="original_missing"} 0.0' in generate_latest(metrics.registry)
    full.store.delete(next(stored.key for stored in full.store.list("originals") if stored.size_bytes))
    full.check()
    said = generate_latest(metrics.registry)
    assert b'med3d_ledger_discrepancies{code="original_missing"} 1.0' in said
    assert b"med3d_ledger_age_seconds" in said


def test_the_scheduler_checks_every_night_and_not_every_second(full):
    assert full.ledger.check_if_due()

    def checks():
        with full.database.read() as session:
            return session.scalars(select(LedgerCheckRow)).all()

    wait_until(checks, "the check in the background")
    assert not full.ledger.check_if_due()
    full.execute("UPDATE ledger_checks SET checked_at = checked_at - 90000")
    wait_until(full.ledger.check_if_due, "the check of the next night")
    wait_until(lambda: len(checks()) == 2, "its end")
    wait_until(lambda: "ledger" not in {one.name for one in threading.enumerate()}, "the end of its thread")


def test_the_report_can_be_read_by_machines(full):
    assert json.loads(full.check().model_dump_json())["counts"] == {}


def test_it_balances_while_members_of_a_cohort_wait_for_their_night_and_others_rest(books):
    new_cohort(books.database, 2)
    resting = new_cohort(books.database, 1)
    with books.database.write() as session:
        row = reprocessing.begin(session, resting, session.get_one(BundleRow, "b" * 64), in_window=False)
        reprocessing.feed(session, row, 10)
        reprocessing.rest(session, row, ReprocessingStatus.PAUSED)
        session.execute(update(RunEventRow).values(at=0.0))
    counts = books.check().counts
    assert not {"study_without_run", "run_waits_too_long"} & set(counts), counts
