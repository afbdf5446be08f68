"""A worker that is not heard of any more is told of once: log, counter, metric."""

import pytest
from prometheus_client import generate_latest
from sqlalchemy import update

from med3d_service.api.metrics import Metrics
from med3d_service.processes import scheduler
from med3d_service.processes.api import compose
from med3d_service.runs import transitions
from med3d_service.runs.queueing.silent_workers import SilentWorkers
from med3d_service.storage.tables import BeatRow, RunRow, WorkerRow
from rig.service.parts import LEASES, add_run, migrated, worker

SILENT_S = 20.0


@pytest.fixture
def service(tmp_path):
    made = compose(migrated(tmp_path))
    yield made
    made.close()


def api_answers(service, ago_s=0.0):
    with service.database.write() as session:
        session.merge(BeatRow(process="api", beat_at=service.database.now() - ago_s))


def heard(service, worker_id, ago_s=0.0):
    said = {"contract_version": 1, "software": {}, "providers": [], "bundles": [], "queues": []}
    with service.database.write() as session:
        session.merge(WorkerRow(worker_id=worker_id, seen_at=service.database.now() - ago_s, told_silent=False, **said))


def shown(service):
    lines = generate_latest(Metrics(service.database, SILENT_S, 60.0).registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_a_worker_that_fell_silent_is_told_once_by_whichever_scheduler(service):
    api_answers(service)
    heard(service, "alive")
    heard(service, "gone", ago_s=60)
    assert shown(service)["med3d_workers_silent_total"] == 0
    first, second = SilentWorkers(service.database, SILENT_S), SilentWorkers(service.database, SILENT_S)
    assert [first.tell(), second.tell()] == [[], []]
    assert [first.tell(), second.tell(), first.tell()] == [["gone"], [], []]
    assert shown(service)["med3d_workers_silent_total"] == 1
    heard(service, "gone")
    heard(service, "gone", ago_s=60)
    assert [first.tell(), first.tell()] == [[], ["gone"]]


def test_nobody_is_silent_while_the_api_is_away_or_just_back(service):
    heard(service, "waits", ago_s=60)
    told = SilentWorkers(service.database, SILENT_S)
    api_answers(service, ago_s=60)
    assert [told.tell(), told.tell()] == [[], []]
    api_answers(service)
    assert told.tell() == []
    heard(service, "waits")
    assert told.tell() == []


def test_stages_taken_back_are_counted(service):
    run_id = add_run(service.database)
    api_answers(service)
    with service.database.write() as session:
        transitions.claim_preprocess(session, run_id, worker(), LEASES)
        session.execute(update(RunRow).values(lease_expires_at=0))
    assert scheduler.end_leases(service.database, LEASES) == [run_id]
    assert shown(service)["med3d_leases_ended_total"] == 1
