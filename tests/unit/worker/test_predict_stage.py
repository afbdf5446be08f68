import dataclasses

import numpy as np
import pytest
from structlog.testing import capture_logs

from med3d_client.worker import ApiError, ApiUnavailable
from med3d_contract.results import Reason
from med3d_contract.work import StoredOutcomes
from med3d_pipeline.errors import InferenceError
from med3d_store.object_store import StoreError
from med3d_worker.heads.tensors import TensorCache, TensorRecord
from med3d_worker.stages.outcomes import OutcomeDelivery
from med3d_worker.stages.predict_stage import PredictStage
from rig.science.models import LIMITS
from rig.service.stores import MemoryStore
from rig.service.work import PROVENANCE, QUALITY, REFUSAL, SERIES, TIE, WORKER, FakeApi, predict_claim, result


class Predicts:
    """Answers by run order; a batch that holds a poisonous head fails as a whole."""

    def __init__(self, answers, poisonous=None):
        self.answers = answers
        self.poisonous = poisonous
        self.batches = []
        self.heads = []

    def __call__(self, heads):
        self.batches.append(len(heads))
        self.heads += heads
        if any(head.subject.sex == self.poisonous for head in heads) and self.poisonous:
            raise InferenceError("the runtime failed")
        return [self.answers[number % len(self.answers)] for number in range(len(heads))]


class Setting:
    def __init__(self, *run_ids, answers=None, poisonous=None):
        self.store = MemoryStore()
        self.tensors = TensorCache(self.store)
        self.api = FakeApi(*(predict_claim(self.tensors, run_id) for run_id in run_ids))
        self.predicts = Predicts(answers or [result()], poisonous)
        self.sent = []
        delivery = OutcomeDelivery(self.api, self.store, lambda run_id, attempt: self.sent.append((run_id, attempt)))
        self.stage = PredictStage(
            self.api, self.tensors, self.predicts, delivery, WORKER, LIMITS, batch=4, heartbeat_s=0.01
        )

    def stored(self, run_id):
        kept = (
            StoredOutcomes.model_validate_json(data) for key, data in self.store.objects.items() if "results/" in key
        )
        return {one.run_id: one.outcome for stored in kept for one in stored.outcomes}.get(run_id)


def test_all_claims_are_encoded_in_one_batch_and_stored_before_they_are_published():
    setting = Setting("a", "b", "c")
    setting.stage()
    assert setting.predicts.batches == [3]
    assert setting.sent == [("a", 2)], "one object and one message, named by the first"
    assert setting.stored("b").result == result()


def test_nothing_to_claim_is_no_work():
    setting = Setting()
    assert not setting.stage()
    assert setting.predicts.batches == []


def test_the_batch_is_bounded_and_it_is_said_that_more_may_wait():
    setting = Setting("a", "b", "c", "d", "e")
    assert setting.stage()
    assert setting.stage()
    assert not setting.stage()
    assert setting.predicts.batches == [4, 1]


def test_a_run_that_is_handed_out_alone_is_followed_by_the_next_one():
    """As after a batch was lost: only the sweep would come back to the others, some at a time."""
    setting = Setting("a")
    assert setting.stage()


def test_timings_and_providers_of_both_stages_are_kept():
    setting = Setting("a")
    setting.stage()
    provenance = setting.stored("a").findings.provenance
    assert provenance.timings_s.keys() == {"reading headers", "predicting"}
    assert provenance.input_digest == PROVENANCE.input_digest


def test_out_of_distribution_is_refused_with_series_and_quality():
    setting = Setting("a", "b", answers=[REFUSAL, result()])
    setting.stage()
    refused = setting.stored("a")
    assert (refused.refusal, refused.findings.series, refused.findings.quality) == (REFUSAL, SERIES, QUALITY)
    assert setting.stored("b").outcome == "completed"


def test_a_poisonous_head_costs_its_neighbours_nothing():
    setting = Setting(poisonous="F")
    claims = [predict_claim(setting.tensors, name) for name in "abc"]
    poisoned = claims[1].subject.model_copy(update={"sex": "F"})
    claims[1] = claims[1].model_copy(update={"subject": poisoned})
    setting.api.claims = claims
    setting.stage()
    assert setting.predicts.batches == [3, 1, 1, 1]
    assert setting.stored("a").outcome == setting.stored("c").outcome == "completed"
    assert setting.api.ended["b"].failure.code == "inference_failed"
    assert setting.stored("b") is None


def test_a_missing_tensor_is_one_runs_fault():
    setting = Setting("a")
    setting.api.claims.append(predict_claim(setting.tensors, "b", record=None))
    setting.stage()
    assert setting.stored("a").outcome == "completed"
    assert setting.api.ended["b"].failure.code == "object_missing"


def test_a_store_that_takes_nothing_is_a_retryable_fault():
    setting = Setting("a")
    setting.store.fault = StoreError("disk full")
    setting.stage()
    assert setting.api.ended["a"].failure.code == "store_unavailable"
    assert setting.api.ended["a"].failure.retryable


def test_an_api_that_is_away_is_left_to_the_sweep():
    setting = Setting("a")
    setting.api.fault = ApiUnavailable("down")
    assert not setting.stage()


def test_a_worker_of_another_contract_says_so_in_one_line():
    setting = Setting("a")
    setting.api.fault = ApiError(422, "contract_version_mismatch", "Another version.", "Install the same release.")
    with capture_logs() as said:
        assert setting.stage() == 0
    assert [(line["event"], line["code"]) for line in said] == [("claim_refused", "contract_version_mismatch")]


@pytest.mark.parametrize("acquisition", [{}, {"of_a_newer_version": 1.0}])
def test_acquisitions_of_other_versions_are_understood(acquisition):
    setting = Setting()
    claim = predict_claim(setting.tensors, "a")
    older = claim.preprocessed.model_copy(update={"acquisition": acquisition})
    setting.api.claims = [claim.model_copy(update={"preprocessed": older})]
    setting.stage()
    assert setting.stored("a").outcome == "completed"


def reused(setting, **measures):
    """Let the claim in hand be of a head that was preprocessed for another bundle."""
    (claim,) = setting.api.claims
    known = claim.preprocessed
    record = TensorRecord(np.ones((2, 2, 2), np.float32), np.eye(4), measures)
    of_another_bundle = known.findings.provenance.model_copy(update={"bundle_digest": "0" * 64})
    changed = known.model_copy(
        update={
            "tensor": setting.tensors.keep("tensors/a.npz", record),
            "review_reasons": (TIE, Reason(code="unusual_measure", sentence="What the other bundle thought.")),
            "series_reasons": (TIE,),
            "findings": known.findings.model_copy(update={"provenance": of_another_bundle}),
        }
    )
    setting.api.claims = [claim.model_copy(update={"preprocessed": changed})]


def test_a_head_that_was_preprocessed_for_another_bundle_is_held_against_this_ones_limits():
    setting = Setting("a")
    reused(setting, template_overlap=0.85)
    setting.stage()
    (head,) = setting.predicts.heads
    assert head.review_reasons[0] == TIE
    assert "overlap with the template is 0.85" in head.review_reasons[1].sentence
    assert setting.stored("a").findings.quality.limits == {"template_overlap": (0.8, None)}


def test_a_head_that_this_bundle_would_have_refused_is_refused_without_being_encoded():
    setting = Setting("a")
    reused(setting, template_overlap=0.5)
    setting.stage()
    assert setting.predicts.batches == []
    told = setting.stored("a")
    assert (told.refusal.code, told.findings.quality.failed) == ("not_a_head", ("template_overlap",))
    assert told.findings.provenance.bundle_digest == "b" * 64


def test_a_run_is_predicted_with_the_calibrations_that_its_claim_names():
    setting = Setting("a", "b")
    setting.api.claims[1] = setting.api.claims[1].model_copy(update={"calibrations": ("c" * 64, "unknown")})
    site = object()
    dataclasses.replace(setting.stage, open_calibrations=lambda _files: {"c" * 64: site})()
    assert [head.sites for head in setting.predicts.heads] == [(), (site,)]
