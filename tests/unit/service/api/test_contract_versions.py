"""Workers of one contract version older or newer are refused by name, before their words are judged, and cost no run a try."""

import pytest
from sqlalchemy import select

from med3d_contract.work import CONTRACT_VERSION
from med3d_service.storage.tables import RunRow, WorkerRow
from med3d_service.trust.access import Role
from rig.service.api import open_api
from rig.service.parts import add_run, worker


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path)
    yield made
    made.close()


def identity(version, **more):
    return worker("other").model_dump(mode="json") | {"contract_version": version} | more


def calls(run_id, said):
    return {
        "/worker/hello": {"worker": said, "queues": ["preprocess"]},
        f"/worker/runs/{run_id}/claim": {"worker": said},
        "/worker/claims/predict": {"worker": said, "limit": 4},
    }


@pytest.mark.parametrize("version", [CONTRACT_VERSION - 1, CONTRACT_VERSION + 1], ids=["older", "newer"])
def test_a_worker_of_another_contract_version_is_refused_by_name_and_its_run_waits_for_the_right_one(api, version):
    run_id, key = add_run(api.service.database), api.key(Role.WORKER)
    said = identity(version, a_word_of_that_version=True)
    for path, body in calls(run_id, said).items():
        answer = api.request("POST", path, key, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "contract_version_mismatch"), path
        assert str(version) in answer.json()["detail"]
        assert str(CONTRACT_VERSION) in answer.json()["detail"]
    with api.service.database.read() as session:
        run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
        assert (run.status, run.attempt, run.tries) == ("queued", 0, 0)
        assert session.get(WorkerRow, "other") is None
    for path, body in calls(run_id, identity(CONTRACT_VERSION)).items():
        assert api.request("POST", path, key, json=body).status_code in {200, 204}, path


def test_the_same_version_with_an_unknown_word_is_told_which_word(api):
    said = identity(CONTRACT_VERSION, a_word_of_no_version=True)
    answer = api.request("POST", "/worker/hello", api.key(Role.WORKER), json={"worker": said, "queues": []})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "a_word_of_no_version" in answer.text


def test_brackets_without_end_are_a_fault_of_the_caller(api):
    for path in ("/worker/hello", "/worker/claims/predict"):
        answer = api.request("POST", path, api.key(Role.WORKER), content=b"[" * 100_000)
        assert 400 <= answer.status_code < 500, (path, answer.text)
        assert answer.json()["code"], path
