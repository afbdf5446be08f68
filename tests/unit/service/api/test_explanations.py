"""An explanation is made when it is first asked for, kept, shown to whom it may be, and goes with its run's tensor."""

import json

import pytest

from med3d_contract.explanations import (
    Explanation,
    ExplanationPicture,
    StoredExplanation,
    VentricleVolumes,
    explanation_key,
)
from med3d_contract.work import ExplanationRequest
from med3d_service.custody.retention.removing import remove_tensors
from med3d_service.custody.retention.tables import RemovalRow
from med3d_service.trust.access import Role
from rig.service.answers_of_pages import answered
from rig.service.api import open_api
from rig.service.work import BUNDLE

MADE = StoredExplanation(
    explanation=Explanation(
        step_years=10.0, shares=None, ventricles_ml=VentricleVolumes(younger=20.0, now=22.0, older=25.0)
    ),
    picture=ExplanationPicture(width=1, height=1, png_base64="iVBORw0KGgoA"),
)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = open_api(tmp_path_factory.mktemp("data"))
    yield made
    made.close()


def keep(api, run_id):
    api.service.store.put(explanation_key(run_id), MADE.model_dump_json().encode())


def path_of(run_id, what=""):
    return f"/runs/{run_id}/explanation{what}"


def test_the_first_reading_asks_a_worker_and_the_next_one_gets_it(api):
    run_id, key = answered(api), api.key(Role.VIEWER)
    first = api.request("GET", path_of(run_id), key)
    assert (first.status_code, first.headers["retry-after"]) == (202, "1")
    assert (run_id, "explanation", 3) in api.service.broker.sent
    keep(api, run_id)
    sent = len(api.service.broker.sent)
    assert Explanation.model_validate(api.request("GET", path_of(run_id), key).json()) == MADE.explanation
    assert len(api.service.broker.sent) == sent


def test_the_picture_takes_the_clinical_grant(api):
    run_id = answered(api)
    keep(api, run_id)
    assert api.request("GET", path_of(run_id, "/picture"), api.key(Role.VIEWER)).status_code == 403
    picture = api.request("GET", path_of(run_id, "/picture"), api.key(Role.VIEWER, clinical=True))
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


def test_a_broker_that_is_away_is_asked_by_the_next_reading(api):
    run_id = answered(api)
    api.service.broker.away = True
    try:
        assert api.request("GET", path_of(run_id), api.key(Role.VIEWER)).status_code == 202
    finally:
        api.service.broker.away = False


def test_a_run_without_a_number_cannot_be_explained(api):
    answer = api.request("GET", path_of(api.ids["run_id"]), api.key(Role.VIEWER))
    assert (answer.status_code, answer.json()["code"]) == (404, "no_explanation")


def test_another_sites_run_is_unknown(api):
    answer = api.request("GET", path_of(answered(api)), api.key(Role.VIEWER, site="elsewhere"))
    assert answer.json()["code"] == "unknown_run"


def test_what_cannot_be_read_is_made_again(api):
    run_id = answered(api)
    api.service.store.put(explanation_key(run_id), b"{}")
    assert api.request("GET", path_of(run_id), api.key(Role.VIEWER)).status_code == 202


def test_a_worker_is_told_what_it_needs_and_no_more(api):
    run_id = answered(api)
    answer = api.request("GET", f"/worker{path_of(run_id)}", api.key(Role.WORKER))
    wanted = ExplanationRequest.model_validate(answer.json())
    assert (wanted.bundle_digest, wanted.tensor.key) == (BUNDLE.digest, "tensors/x.npz")
    assert api.request("GET", f"/worker{path_of(api.ids['run_id'])}", api.key(Role.WORKER)).status_code == 409


def test_an_explanation_goes_with_the_tensor(api):
    run_id = answered(api)
    keep(api, run_id)
    with api.service.database.write() as session:
        remove_tensors(session, [run_id])
        planned = {key for removal in session.query(RemovalRow) for key in removal.objects}
    assert explanation_key(run_id) in planned
    answer = api.request("GET", path_of(run_id), api.key(Role.VIEWER))
    assert answer.json()["code"] == "no_explanation"


def test_they_can_be_switched_off(tmp_path):
    api = open_api(tmp_path, explanations=False)
    try:
        answer = api.request("GET", path_of(answered(api)), api.key(Role.VIEWER))
        assert answer.json()["code"] == "no_explanation"
        assert not [one for one in api.service.broker.sent if one[1] == "explanation"]
    finally:
        api.close()


def test_what_is_stored_names_nobody():
    assert set(json.loads(MADE.model_dump_json())) == {"explanation", "picture"}
