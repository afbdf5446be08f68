"""The state machine on PostgreSQL, and many workers at once on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import select

from med3d_contract.backoff import Backoff
from med3d_contract.results import RunStatus
from med3d_service.problems import ServiceError
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.destinations import Destination
from med3d_service.results.delivery.outbox import Patience
from med3d_service.results.delivery.receivers import Webhook
from med3d_service.results.kinds import Kind
from med3d_service.runs import transitions
from med3d_service.storage.database import Database, alembic_config
from med3d_service.storage.keys import derive
from med3d_service.storage.tables import AttemptRow, Base, DeliveryRow, RunRow
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail
from rig.processes.service import new_database
from rig.service.parts import LEASES, add_run, migrated, preprocessed, refused, worker
from rig.service.run_machine import Runs

SITE_KEY = "6b" * 32


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    url = None if request.param == "sqlite" else new_database(request.getfixturevalue("postgresql_url"))
    opened = Database(migrated(tmp_path, database_url=url, site_key=SITE_KEY).database)
    yield opened
    opened.close()


def test_the_migrations_make_the_schema_that_the_code_expects(database):
    with database.engine.connect() as connection:
        command.check(alembic_config(connection))


def test_the_state_machine_holds_under_random_orders_of_events(postgresql_url, tmp_path):
    database = Database(migrated(tmp_path, database_url=new_database(postgresql_url)).database)

    class RunsOnPostgresql(Runs):
        def open_empty(self):
            with database.write() as session:
                for table in reversed(Base.metadata.sorted_tables):
                    session.execute(table.delete())
            return database

    run_state_machine_as_test(
        RunsOnPostgresql,
        settings=settings(
            max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_of_many_workers_that_claim_a_run_at_once_one_gets_it(database):
    run_ids = [add_run(database) for _ in range(8)]

    def claim(number):
        won = []
        for run_id in run_ids:
            try:
                with database.write() as session:
                    won.append(transitions.claim_preprocess(session, run_id, worker(f"w{number}"), LEASES).id)
            except ServiceError as error:
                assert error.code in {"not_claimable", "attempt_over"}  # noqa: PT017 - one of them wins
        return won

    with ThreadPoolExecutor(6) as pool:
        won = [run_id for runs in pool.map(claim, range(6)) for run_id in runs]
    assert sorted(won) == sorted(run_ids)


def test_of_many_workers_that_claim_batches_at_once_each_run_goes_to_one(database):
    run_ids = [add_run(database) for _ in range(12)]
    for run_id in run_ids:
        with database.write() as session:
            transitions.claim_preprocess(session, run_id, worker(), LEASES)
            transitions.store_preprocessed(session, run_id, preprocessed(1))

    def claim(number):
        with database.write() as session:
            return [run.id for run in transitions.claim_predict(session, worker(f"w{number}"), 4, LEASES)]

    with ThreadPoolExecutor(6) as pool:
        won = [run_id for runs in pool.map(claim, range(6)) for run_id in runs]
    assert len(won) == len(set(won))
    while more := claim(9):
        won += more
    assert sorted(won) == sorted(run_ids)
    with database.read() as session:
        assert set(session.scalars(select(RunRow.status))) == {RunStatus.PREDICTING}
        in_hand = session.scalars(select(AttemptRow).where(AttemptRow.ended_at.is_(None))).all()
    assert len(in_hand) == len(run_ids)


def test_of_many_senders_that_claim_deliveries_at_once_each_gets_another(database):
    patience = Patience(Backoff(first_s=1.0, longest_s=8.0), give_up_s=100.0, lease_s=30.0)
    hook = Webhook.model_validate({"url": "http://127.0.0.1:9/", "secret": {"env": "PATH"}})
    target = Destination(name="webhook:his", kinds=frozenset({Kind.EVENT}), cohort=True, peer=hook)
    for run_id in [add_run(database) for _ in range(8)]:
        with database.write() as session:
            run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
            transitions.store_outcome(session, run_id, refused(run.attempt), LEASES)

    def send(_number):
        with database.write() as session:
            outbox.plan(session, [target], patience)
        taken = []
        while True:
            with database.write() as session:
                row = outbox.claim(session, target.name, patience)
            if row is None:
                return taken
            taken.append(row.id)
            with database.write() as session:
                outbox.delivered(session, row)

    with ThreadPoolExecutor(4) as pool:
        taken = [delivery_id for found in pool.map(send, range(4)) for delivery_id in found]
    assert len(taken) == len(set(taken)) == 8
    with database.read() as session:
        assert set(session.scalars(select(DeliveryRow.status))) == {"delivered"}
        assert not outbox.has_answers(session)


def test_several_processes_write_one_audit_trail_that_proves_itself_meanwhile(database):
    trails = [
        AuditTrail(database, derive(bytes.fromhex(SITE_KEY), "audit")) for _ in range(4)
    ]  # each process has its own

    def write(number):
        for count in range(15):
            event = AuditEvent(Actor("key", f"writer-{number}"), Action.READ, object_kind="run", object_id=str(count))
            trails[number].record(event)
            trails[number].verify()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert trails[0].verify().entries == 60
