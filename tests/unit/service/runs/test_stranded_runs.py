"""Runs whose bundle nobody carries any more say so."""

import pytest
from sqlalchemy import select, update

from med3d_contract.results import BundleRef
from med3d_service.processes import scheduler
from med3d_service.processes.api import compose
from med3d_service.runs.queueing.stranded import NO_WORKER_CARRIES_IT
from med3d_service.storage.tables import RunEventRow, RunRow, WorkerRow
from rig.service.parts import add_run, migrated
from rig.service.work import BUNDLE

NEWER = BundleRef(name="other", version="2", digest="c" * 64)


@pytest.fixture
def service(tmp_path):
    made = compose(migrated(tmp_path))
    yield made
    made.close()


def said_hello(service, *bundles):
    with service.database.write() as session:
        session.merge(
            WorkerRow(
                worker_id="worker-1",
                contract_version=1,
                software={},
                providers=[],
                bundles=[bundle.model_dump(mode="json") for bundle in bundles],
                queues=[],
                seen_at=service.database.now(),
            )
        )


def stage(service, run_id):
    with service.database.read() as session:
        return session.scalars(select(RunRow.stage).where(RunRow.id == run_id)).one()


def test_a_run_whose_bundle_was_replaced_says_what_it_waits_for_and_goes_on_when_it_is_back(service):
    run_id = add_run(service.database)
    said_hello(service, NEWER)
    assert scheduler.tell_stranded(service.database, service.settings.worker_silent_s) == 1
    assert stage(service, run_id) == NO_WORKER_CARRIES_IT
    said_hello(service, NEWER, BUNDLE)
    assert scheduler.tell_stranded(service.database, service.settings.worker_silent_s) == 0
    assert stage(service, run_id) is None


def test_it_is_told_once_in_the_run_s_events(service):
    run_id = add_run(service.database)
    said_hello(service, NEWER)
    scheduler.tell_stranded(service.database, service.settings.worker_silent_s)
    scheduler.tell_stranded(service.database, service.settings.worker_silent_s)
    with service.database.read() as session:
        told = session.scalars(select(RunEventRow.stage).where(RunEventRow.run_id == run_id)).all()
    assert told == [None, NO_WORKER_CARRIES_IT]


@pytest.mark.parametrize("bundles", [(), (BUNDLE,)], ids=["no worker at all", "its bundle carried"])
def test_a_run_that_some_worker_can_take_or_that_only_lacks_workers_says_nothing(service, bundles):
    run_id = add_run(service.database)
    if bundles:
        said_hello(service, *bundles)
    assert scheduler.tell_stranded(service.database, service.settings.worker_silent_s) == 0
    assert stage(service, run_id) is None


def test_workers_long_silent_carry_nothing(service):
    run_id = add_run(service.database)
    said_hello(service, NEWER)
    with service.database.write() as session:
        session.execute(update(WorkerRow).values(bundles=[BUNDLE.model_dump(mode="json")], worker_id="gone", seen_at=0))
    said_hello(service, NEWER)
    scheduler.tell_stranded(service.database, service.settings.worker_silent_s)
    assert stage(service, run_id) == NO_WORKER_CARRIES_IT
