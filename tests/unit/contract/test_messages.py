import pytest
from pydantic import TypeAdapter, ValidationError

from med3d_contract.queues import CELERY_PRIORITY, HARD_TIME_LIMIT_S, celery_settings
from med3d_contract.results import Failure, Priority, RunStatus
from med3d_contract.work import Failed, Outcome, StoredOutcome


def test_a_stored_outcome_survives_the_way_through_json():
    outcome = StoredOutcome(
        run_id="run-1", outcome=Failed(attempt=2, failure=Failure(code="out_of_memory", reason="no memory left"))
    )
    assert StoredOutcome.model_validate_json(outcome.model_dump_json()) == outcome


def test_an_unknown_outcome_or_field_is_not_accepted():
    adapter = TypeAdapter(Outcome)
    with pytest.raises(ValidationError):
        adapter.validate_python({"outcome": "perhaps", "attempt": 1})
    with pytest.raises(ValidationError):
        Failure(code="x", reason="y", patient="z")


def test_stat_goes_before_routine_before_cohort():
    assert CELERY_PRIORITY[Priority.STAT] < CELERY_PRIORITY[Priority.ROUTINE] < CELERY_PRIORITY[Priority.COHORT]


def test_a_message_stays_invisible_for_longer_than_a_task_may_take():
    options = celery_settings("redis://localhost")["broker_transport_options"]
    assert options["visibility_timeout"] > HARD_TIME_LIMIT_S


def test_only_the_four_ends_are_terminal():
    assert {status for status in RunStatus if status.is_terminal} == {"completed", "refused", "failed", "cancelled"}
