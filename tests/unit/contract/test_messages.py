import pytest
from pydantic import TypeAdapter, ValidationError

from med3d_contract.queues import CELERY_PRIORITY, HARD_TIME_LIMIT_S, celery_settings
from med3d_contract.results import Failure, Priority, RunStatus
from med3d_contract.work import (
    Completed,
    Failed,
    Findings,
    Outcome,
    Preprocessed,
    PreprocessedObject,
    Refused,
    RunOutcome,
    StoredOutcomes,
)
from rig.service.work import FINDINGS, REFUSAL, result


def test_stored_outcomes_survive_the_way_through_json():
    failed = Failed(attempt=2, failure=Failure(code="out_of_memory", reason="no memory left"))
    stored = StoredOutcomes(outcomes=(RunOutcome(run_id="run-1", outcome=failed),))
    assert StoredOutcomes.model_validate_json(stored.model_dump_json()) == stored


def as_version_6(told):
    """Write the findings side by side with the rest."""
    words = told.model_dump(mode="json")
    return words | words.pop("findings")


def test_stage_ends_of_contract_version_6_are_read_as_they_were_meant():
    tensor = PreprocessedObject(key="tensors/x.npz", sha256="0" * 64)
    left = Preprocessed(attempt=1, findings=FINDINGS, tensor=tensor, acquisition={}, review_reasons=())
    assert Preprocessed.model_validate(as_version_6(left)) == left
    provenance, quality = FINDINGS.provenance, FINDINGS.quality
    ends = [
        Refused(attempt=1, refusal=REFUSAL, findings=Findings(**dict(FINDINGS))),
        Refused(attempt=1, refusal=REFUSAL, findings=Findings(provenance=provenance)),
        Completed(attempt=2, result=result(), findings=Findings(provenance=provenance, quality=quality)),
        Failed(attempt=2, failure=Failure(code="out_of_memory", reason="no memory left")),
    ]
    for end in ends:
        assert TypeAdapter(Outcome).validate_python(as_version_6(end)) == end


def test_findings_told_twice_are_not_accepted():
    told = Refused(attempt=1, refusal=REFUSAL, findings=Findings()).model_dump(mode="json")
    with pytest.raises(ValidationError, match="Extra inputs"):
        Refused.model_validate(told | {"quality": None})


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
