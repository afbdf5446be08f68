"""`med3d ledger` as an operator or a timer calls it."""

import json

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from med3d_cli.errors import CommandError
from med3d_cli.main import make_app
from med3d_service.custody.ledger import ACCOUNTS
from med3d_service.runs import transitions
from med3d_service.storage.tables import RunRow
from rig.service.parts import LEASES, add_run, open_database, worker


def ledger(data_dir, *options):
    return CliRunner().invoke(make_app(), ["ledger", "--data-dir", str(data_dir), *options])


@pytest.fixture
def data_dir(tmp_path):
    open_database(tmp_path).close()
    return tmp_path


def break_a_run(data_dir):
    database = open_database(data_dir)
    run_id = add_run(database)
    with database.write() as session:
        transitions.claim_preprocess(session, run_id, worker(), LEASES)
        session.execute(update(RunRow).values(lease_expires_at=0.0))
    database.close()
    return run_id


def test_a_ledger_that_balances_leaves_with_0(data_dir):
    answer = ledger(data_dir)
    assert answer.exit_code == 0
    assert "The ledger balances" in answer.output


def test_a_discrepancy_is_told_with_its_place_and_leaves_with_5(data_dir):
    run_id = break_a_run(data_dir)
    answer = ledger(data_dir)
    assert answer.exit_code == 5
    assert "does not balance" in answer.output
    assert "lease_not_ended" in answer.output
    report = json.loads(ledger(data_dir, "--json").stdout)
    found = {finding["code"]: finding["subject"] for finding in report["findings"]}
    assert found["lease_not_ended"] == run_id
    assert found.keys() <= ACCOUNTS.keys()


def test_a_folder_without_a_service_is_an_error_and_gets_none(tmp_path):
    answer = ledger(tmp_path / "nothing")
    assert isinstance(answer.exception, CommandError)
    assert not (tmp_path / "nothing").exists()
