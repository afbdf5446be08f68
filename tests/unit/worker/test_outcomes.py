import pytest
from kombu.exceptions import OperationalError
from structlog.testing import capture_logs

from med3d_client.worker import ApiError, ApiUnavailable
from med3d_contract.results import Failure
from med3d_contract.work import Completed, Failed, Findings
from med3d_worker.stages.outcomes import OutcomeDelivery, publish_outcomes
from rig.service.stores import MemoryStore
from rig.service.work import PROVENANCE, FakeApi, result

COMPLETED = Completed(attempt=3, result=result(), findings=Findings(provenance=PROVENANCE))
FAILED = Failed(attempt=3, failure=Failure(code="out_of_memory", reason="no memory", retryable=True))


def no_broker(run_id, attempt):
    raise OperationalError("connection refused")


def test_a_stored_answer_is_put_to_the_api():
    api, store = FakeApi(), MemoryStore()
    OutcomeDelivery(api, store, lambda *_: None).answer({"run-1": COMPLETED})
    publish_outcomes(api, store, "run-1", 3)
    assert api.ended == {"run-1": COMPLETED}


def test_publishing_twice_is_harmless():
    api, store = FakeApi(), MemoryStore()
    OutcomeDelivery(api, store, lambda *_: None).answer({"run-1": COMPLETED})
    publish_outcomes(api, store, "run-1", 3)
    publish_outcomes(api, store, "run-1", 3)
    assert api.ended == {"run-1": COMPLETED}


def test_a_newer_attempt_counts_as_done():
    api, store = FakeApi(), MemoryStore()
    api.over = {"run-1"}
    OutcomeDelivery(api, store, lambda *_: None).answer({"run-1": COMPLETED})
    publish_outcomes(api, store, "run-1", 3)
    assert api.ended == {}


def test_an_answer_that_the_service_has_adopted_counts_as_done():
    api = FakeApi()
    publish_outcomes(api, MemoryStore(), "run-1", 3)
    assert api.ended == {}


def test_an_api_that_is_away_is_for_the_queue_to_try_again():
    api, store = FakeApi(), MemoryStore()
    OutcomeDelivery(api, store, lambda *_: None).answer({"run-1": COMPLETED})
    api.fault = ApiUnavailable("down")
    with pytest.raises(ApiUnavailable):
        publish_outcomes(api, store, "run-1", 3)


def test_an_answer_that_the_service_refuses_is_said_in_one_line_and_stays_stored():
    api, store = FakeApi(), MemoryStore()
    OutcomeDelivery(api, store, lambda *_: None).answer({"run-1": COMPLETED})
    api.fault = ApiError(401, "invalid_key", "The key was revoked.", "Ask for another.")
    with capture_logs() as said:
        publish_outcomes(api, store, "run-1", 3)
    assert [(line["event"], line["code"]) for line in said] == [("outcome_refused", "invalid_key")]
    assert store.head("results/run-1.3.json")


def test_a_broker_that_is_away_loses_no_answer():
    store = MemoryStore()
    OutcomeDelivery(FakeApi(), store, no_broker).answer({"run-1": COMPLETED})
    assert "results/run-1.3.json" in store.objects


def test_a_fault_needs_neither_store_nor_queue():
    api, store = FakeApi(), MemoryStore()
    OutcomeDelivery(api, store, no_broker).fault("run-1", FAILED)
    assert api.ended == {"run-1": FAILED}
    assert store.objects == {}


def test_a_fault_that_cannot_be_reported_is_left_to_the_lease():
    api = FakeApi()
    api.fault = ApiUnavailable("down")
    OutcomeDelivery(api, MemoryStore(), no_broker).fault("run-1", FAILED)
    assert api.ended == {}
