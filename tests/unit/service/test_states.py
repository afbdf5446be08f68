"""The tables of allowed moves, and the page that is drawn from them."""

import ast
import re
from pathlib import Path

import pytest

import med3d_service
from med3d_contract.results import RunStatus
from med3d_service.network.pulls.line import _move
from med3d_service.network.pulls.states import PullStatus
from med3d_service.problems import ServiceError
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.states import DeliveryStatus
from med3d_service.runs import transitions
from med3d_service.runs.moves import Move, attempts_of, end_attempts, make_moves
from med3d_service.runs.states import RUN_MOVES, AttemptEnding
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.copy_states import CopyStatus, move_copy
from med3d_service.storage.tables import DeliveryRow, RunRow, StudyRow
from med3d_service.studies.arrivals.states import ArrivalStatus, mark_settled
from rig.service.parts import LEASES, add_run, add_study, open_database, worker
from rig.service.state_tables import PAGE, TABLES, with_tables

SERVICE = Path(med3d_service.__file__).parent


@pytest.fixture
def database(tmp_path):
    made = open_database(tmp_path)
    yield made
    made.close()


def test_the_page_shows_every_table_as_the_code_has_it():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_tables(page)
    assert set(re.findall(r"^## (.*)", page, re.MULTILINE)) == set(TABLES)


def test_the_page_names_every_ending_of_an_attempt():
    page = PAGE.read_text(encoding="utf-8")
    assert [one for one in AttemptEnding if f"`{one}`" not in page] == []


@pytest.mark.parametrize("moves", TABLES.values(), ids=TABLES)
def test_a_table_speaks_of_every_state_and_each_is_reached(moves):
    states = set(type(next(iter(moves))))
    assert set(moves) == states
    reached = set().union(*moves.values())
    assert len(states - reached) <= 1, "the first alone is where things begin"


def test_nothing_follows_where_a_run_has_ended():
    assert {status for status, after in RUN_MOVES.items() if not after} == {one for one in RunStatus if one.is_terminal}


def test_a_move_that_is_not_in_the_table_is_not_made(database):
    run_id = add_run(database)
    with database.write() as session, pytest.raises(AssertionError, match="queued to predicting"):
        make_moves(session, [Move(session.query(RunRow).one(), RunStatus.PREDICTING)], 0.0)
    with database.read() as session:
        assert session.query(RunRow).where(RunRow.id == run_id).one().status == RunStatus.QUEUED


def test_a_working_copy_moves_only_as_the_table_says_and_only_from_where_it_stands(database):
    with database.write() as session:
        study_id = add_study(session, "waiting")
        study = session.query(StudyRow).one()
        with pytest.raises(AssertionError, match="waiting to ready"):
            move_copy(session, study_id, {CopyStatus.WAITING}, CopyStatus.READY)
        assert not move_copy(session, study_id, {CopyStatus.READY}, CopyStatus.PARKED)
        assert not move_copy(session, study_id, {CopyStatus.WAITING}, CopyStatus.COPYING, StudyRow.digest == "other")
        assert move_copy(session, study_id, {CopyStatus.WAITING}, CopyStatus.COPYING, working_tries=7)
        assert (study.working_status, study.working_tries) == (CopyStatus.COPYING, 7), "read anew by who holds the row"


def test_a_dead_delivery_is_not_delivered_before_somebody_sends_it_again(database):
    run_id = add_run(database)
    with database.write() as session:
        session.add(
            DeliveryRow(id="d", run_id=run_id, kind="sr", destination="webhook:his", object_uid="x", status="dead", tries=1,
                        created_at=0.0, next_try_at=0.0, give_up_at=0.0)
        )  # fmt: skip
        row = session.query(DeliveryRow).one()
        with pytest.raises(AssertionError, match="dead to delivered"):
            outbox.delivered(session, row)
        assert row.status == DeliveryStatus.DEAD


def test_a_pull_moves_only_as_the_table_says():
    with pytest.raises(AssertionError, match="waiting to done"):
        _move(None, "a-pull", PullStatus.WAITING, PullStatus.DONE)


def test_of_two_that_settle_an_arrival_one_does(database):
    with database.write() as session:
        session.add(
            ArrivalRow(id="a", site="s", study_index="0" * 64, status="receiving", source="watch", sender="", first_at=0.0,
                       last_at=0.0, instances=1)
        )  # fmt: skip
        arrival = session.query(ArrivalRow).one()
        assert mark_settled(session, arrival)
        assert arrival.status == ArrivalStatus.SETTLED
        assert not mark_settled(session, arrival)


def test_nothing_else_writes_a_status_that_has_a_writer():
    writers = {"working_status": {"copy_states.py"}}
    for module in sorted(SERVICE.rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            targets = node.targets if isinstance(node, ast.Assign) else []
            written = {one.attr for target in targets for one in ast.walk(target) if isinstance(one, ast.Attribute)}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
                written = {keyword.arg for keyword in node.keywords}
            for name in written & writers.keys():
                assert module.name in writers[name], f"{module.name} writes {name}"


def test_of_two_that_end_an_attempt_one_is_told_that_it_was_too_late(database):
    run_id = add_run(database)
    with database.write() as session:
        transitions.claim_preprocess(session, run_id, worker(), LEASES)
        attempt = attempts_of(session, {run_id: 1})[run_id]
        session.expunge(attempt)
        (known,) = attempts_of(session, {run_id: 1}).values()
        end_attempts(session, [(known, AttemptEnding.LOST)], 1.0)
        with pytest.raises(ServiceError) as refused:
            end_attempts(session, [(attempt, AttemptEnding.REFUSED)], 2.0)
        assert refused.value.code == "attempt_over"
        session.expire_all()
        assert attempts_of(session, {run_id: 1})[run_id].ending == AttemptEnding.LOST
