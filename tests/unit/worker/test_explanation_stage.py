import numpy as np
import pytest
from structlog.testing import capture_logs

from med3d_client.worker import ApiUnavailable, Superseded
from med3d_contract.explanations import StoredExplanation, explanation_key
from med3d_contract.work import ExplanationRequest
from med3d_pipeline.explanation.explainer import HeadExplanation
from med3d_worker.heads.tensors import TensorCache, TensorRecord
from med3d_worker.stages.explanation_stage import ExplanationStage
from rig.service.stores import MemoryStore

BUNDLE = "b" * 64
TENSOR = np.ones((4, 4, 4), np.float32)


class Explainer:
    """Changes nothing, and remembers the ages."""

    def __init__(self):
        self.ages = []

    def explain(self, tensor, age_years):
        self.ages.append(age_years)
        return HeadExplanation(tensor, tensor, tensor, np.zeros_like(tensor), None, None)


class Api:
    """Hands out one run; ``faults`` come in place of the answers that they stand for."""

    def __init__(self, request, *faults):
        self.request, self.faults = request, list(faults)

    def explanation_request(self, _run_id):
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            raise fault
        return self.request


def stage(*faults, bundle=BUNDLE, explainer=None):
    store = MemoryStore()
    tensors = TensorCache(store)
    stored = tensors.keep("tensors/x.npz", TensorRecord(TENSOR, np.eye(4), {}))
    request = ExplanationRequest(bundle_digest=bundle, tensor=stored, age_years=44.0)
    made = ExplanationStage(Api(request, *faults), store, tensors, explainer or Explainer(), BUNDLE)
    return made, store


def test_an_explanation_is_made_once_with_the_age_of_the_subject():
    explain, store = stage()
    explain("run-1")
    explain("run-1")
    assert StoredExplanation.model_validate_json(store.get(explanation_key("run-1"))).explanation.step_years == 10.0
    assert explain.explainer.ages == [44.0]


def test_a_run_of_another_bundle_is_left_to_others():
    explain, store = stage(bundle="c" * 64)
    explain("run-1")
    assert store.head(explanation_key("run-1")) is None


@pytest.mark.parametrize("fault", [Superseded("erased"), ApiUnavailable("away")])
def test_what_cannot_be_asked_is_left(fault):
    explain, store = stage(fault)
    with capture_logs() as logs:
        explain("run-1")
    assert store.head(explanation_key("run-1")) is None
    assert logs[0]["event"] == "not_explained"


def test_what_was_erased_while_it_was_made_is_removed():
    explain, store = stage(None, Superseded("erased"))
    explain("run-1")
    assert store.head(explanation_key("run-1")) is None


def test_a_damaged_tensor_is_no_crash():
    explain, store = stage()
    store.put("tensors/x.npz", b"damaged")
    explain("run-1")
    assert store.head(explanation_key("run-1")) is None
