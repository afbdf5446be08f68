"""The scheduler's steps, one by one."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from med3d_contract.work import RunOutcome, StoredOutcomes
from med3d_service.custody.leftovers import Leftovers
from med3d_service.processes import scheduler
from med3d_service.processes.api import compose
from med3d_service.runs import transitions
from med3d_service.storage.tables import BeatRow, RunRow, UploadRow
from rig.service.parts import LEASES, MemoryBroker, add_run, add_study, completed, migrated, preprocessed, worker


@pytest.fixture
def service(tmp_path):
    made = compose(migrated(tmp_path))
    yield made
    made.close()


def beat(service, ago_s):
    with service.database.write() as session:
        session.merge(BeatRow(process="api", beat_at=service_now(service) - ago_s))


def service_now(service):
    return service.database.now()


def run_in_prediction(service):
    run_id = add_run(service.database)
    with service.database.write() as session:
        transitions.claim_preprocess(session, run_id, worker(), LEASES)
        transitions.store_preprocessed(session, run_id, preprocessed(1))
        transitions.claim_predict(session, worker(), 1, LEASES)
    return run_id


def status(service, run_id):
    with service.database.read() as session:
        return session.scalars(select(RunRow.status).where(RunRow.id == run_id)).one()


def put_outcome(service, run_id, attempt, age_s=60):
    key = f"results/{run_id}.{attempt}.json"
    stored = StoredOutcomes(outcomes=(RunOutcome(run_id=run_id, outcome=completed(attempt)),))
    service.store.put(key, stored.model_dump_json().encode())
    made_older(service, key, age_s)
    return key


def made_older(service, key, age_s):
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).timestamp()
    os.utime(service.store.local_path(key), (at, at))


def test_a_stored_outcome_whose_message_was_lost_is_adopted_and_removed(service):
    run_id = run_in_prediction(service)
    key = put_outcome(service, run_id, 2)
    assert scheduler.adopt_outcomes(service.database, service.store, service.leases) == 1
    assert status(service, run_id) == "completed"
    assert service.store.head(key) is None


def test_a_fresh_outcome_is_left_to_the_worker_that_publishes_it(service):
    run_id = run_in_prediction(service)
    put_outcome(service, run_id, 2, age_s=-60)  # however long this test is held up, it is fresh
    assert scheduler.adopt_outcomes(service.database, service.store, service.leases) == 0
    assert status(service, run_id) == "predicting"


def test_settled_and_older_outcomes_are_only_removed(service):
    run_id = run_in_prediction(service)
    older = put_outcome(service, run_id, 1)
    assert scheduler.adopt_outcomes(service.database, service.store, service.leases) == 0
    unknown = put_outcome(service, "no-such-run", 1)
    assert scheduler.adopt_outcomes(service.database, service.store, service.leases) == 0
    assert (service.store.head(older), service.store.head(unknown)) == (None, None)
    assert status(service, run_id) == "predicting"


def test_an_unreadable_outcome_is_removed_and_the_stage_left_to_its_lease(service):
    run_id = run_in_prediction(service)
    key = f"results/{run_id}.2.json"
    service.store.put(key, b"{half")
    made_older(service, key, 60)
    assert scheduler.adopt_outcomes(service.database, service.store, service.leases) == 0
    assert (service.store.head(key), status(service, run_id)) == (None, "predicting")


@pytest.mark.parametrize(("api_silent_s", "expected"), [(0, "preprocessed"), (60, "predicting"), (None, "predicting")])
def test_a_lease_ends_only_while_the_api_could_have_renewed_it(service, api_silent_s, expected):
    run_id = run_in_prediction(service)
    with service.database.write() as session:
        session.execute(update(RunRow).values(lease_expires_at=0.0))
    if api_silent_s is not None:
        beat(service, api_silent_s)
    scheduler.end_leases(service.database, service.leases)
    assert status(service, run_id) == expected


def leftovers_watched(service):
    """Leftovers, and the hand of their clock."""
    at = [0.0]
    return Leftovers(service.settings, service.database, service.store, clock=lambda: at[0]), at


def lying_about(service):
    return {path.name for path in service.settings.spool_dir.iterdir()} | {
        found.key for found in service.store.list("originals")
    }


def test_fragments_and_originals_that_nobody_refers_to_are_removed_when_they_have_lain_long(service):
    leftovers, at = leftovers_watched(service)
    (service.settings.spool_dir / "old.upload").write_bytes(b"x")
    service.store.put("originals/orphan", b"x")
    assert leftovers.remove() == 0
    at[0] = service.settings.leftover_s - 1
    (service.settings.spool_dir / "fresh.upload").write_bytes(b"x")
    service.store.put("originals/under-way", b"x")
    assert leftovers.remove() == 0
    at[0] = service.settings.leftover_s
    assert leftovers.remove() == 2
    assert lying_about(service) == {"fresh.upload", "originals/under-way"}


def test_a_fragment_that_is_still_written_is_no_leftover(service):
    leftovers, at = leftovers_watched(service)
    slow = service.settings.spool_dir / "slow.upload"
    for hour in range(3):
        slow.write_bytes(b"x" * hour)
        os.utime(slow, ns=(0, hour))
        at[0] = hour * service.settings.leftover_s
        assert leftovers.remove() == 0
    assert slow.exists()


def test_a_clock_two_hours_ahead_takes_no_original_before_its_row_is_committed(service):
    leftovers, at = leftovers_watched(service)
    with service.database.write() as session:
        service.store.put("originals/just-stored", b"x")
        made_older(service, "originals/just-stored", 7200)  # so it looks to a scheduler whose clock is ahead
        assert leftovers.remove() == 0
        study_id = add_study(session)
        stored = UploadRow(
            id="just-stored", study_id=study_id, key="originals/just-stored", sha256="0" * 64, stored_bytes=1
        )
        session.add(stored)
    at[0] = 2 * service.settings.leftover_s
    assert leftovers.remove() == 0
    assert lying_about(service) == {"originals/just-stored"}


def test_the_memory_broker_and_celery_s_have_the_same_face(service):
    face = [name for name in dir(MemoryBroker) if not name.startswith("_")]
    assert all(hasattr(service.broker, name) for name in face)
