import httpx
import pytest

from med3d_client.worker import ApiError, ApiUnavailable, Superseded, WorkerClient
from med3d_contract.results import BundleRef
from med3d_contract.work import ActiveAttempt, Heartbeat, WorkerHello, WorkerIdentity

WORKER = WorkerIdentity(
    worker_id="worker-1",
    software={"infovae-med3d": "0.1.0"},
    providers=("CPUExecutionProvider",),
    bundles=(BundleRef(name="b", version="1", digest="d"),),
)


class Api:
    """Answers in turn; the last answer repeats."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(api, waits):
    return WorkerClient("http://api", "secret", transport=httpx.MockTransport(api), sleep=waits.append)


def test_an_empty_claim_of_predictions_is_read_with_the_key_sent_as_bearer():
    api = Api(httpx.Response(200, json={"claims": []}))
    assert client(api, []).claim_predict(WORKER, 8).claims == ()
    request = api.requests[0]
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.url.path == "/worker/claims/predict"


def test_connection_errors_and_5xx_are_tried_again_after_growing_pauses():
    waits = []
    api = Api(httpx.ConnectError("down"), httpx.Response(503), httpx.Response(200, json={"claims": []}))
    client(api, waits).claim_predict(WORKER, 8)
    assert len(api.requests) == 3
    assert 0 < waits[0] <= 0.25 < waits[1] <= 0.5


def test_a_silent_api_is_given_up_after_bounded_tries():
    waits = []
    api = Api(httpx.ConnectError("down"))
    with pytest.raises(ApiUnavailable, match="ConnectError, 4 tries"):
        client(api, waits).claim_predict(WORKER, 8)
    assert len(api.requests) == 4
    assert len(waits) == 3


def test_a_conflict_means_superseded_and_is_not_repeated():
    api = Api(httpx.Response(409, json={"code": "attempt_over", "detail": "a newer attempt exists"}))
    with pytest.raises(Superseded, match="a newer attempt exists"):
        client(api, []).claim_preprocess("run-1", WORKER)
    assert len(api.requests) == 1


def test_another_refusal_carries_its_stable_code():
    problem = {"code": "contract_version_mismatch", "detail": "Two versions.", "remedy": "Install the same release."}
    api = Api(httpx.Response(422, json=problem))
    with pytest.raises(ApiError) as caught:
        client(api, []).claim_preprocess("run-1", WORKER)
    assert (caught.value.status, caught.value.code) == (422, "contract_version_mismatch")
    assert str(caught.value) == "Two versions. Install the same release. (contract_version_mismatch, HTTP 422)"


@pytest.mark.parametrize("code", ["unknown_run", "unknown_study"])
def test_what_was_erased_meanwhile_is_superseded_and_no_fault(code):
    api = Api(httpx.Response(404, json={"code": code, "detail": "there is no such thing"}))
    with pytest.raises(Superseded, match=code):
        client(api, []).appraisal_request("study-1")
    assert len(api.requests) == 1


def test_an_address_that_is_none_is_a_fault_of_the_settings():
    api = Api(httpx.Response(404, json={"code": "not_found", "detail": "nothing is here"}))
    with pytest.raises(ApiError):
        client(api, []).appraisal_request("study-1")


def test_an_answer_that_is_no_problem_json_still_has_a_code():
    api = Api(httpx.Response(403, text="<html>"))
    with pytest.raises(ApiError) as caught:
        client(api, []).claim_preprocess("run-1", WORKER)
    assert caught.value.code == "forbidden"


@pytest.mark.parametrize("call", ["hello", "heartbeat"])
def test_signs_of_life_are_tried_once_because_the_next_follows(call):
    api = Api(httpx.ConnectError("down"))
    here = client(api, [])
    say = {
        "hello": lambda: here.hello(WorkerHello(worker=WORKER, queues=("predict",))),
        "heartbeat": lambda: here.heartbeat(Heartbeat(held=(ActiveAttempt(run_id="run-1", attempt=1),))),
    }[call]
    with pytest.raises(ApiUnavailable):
        say()
    assert len(api.requests) == 1
