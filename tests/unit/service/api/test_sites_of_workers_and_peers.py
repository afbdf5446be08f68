"""A key of one site: the runs that its worker touches and the peers that its callers ask are that site's."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import select

from med3d_service.network.peers.configuration import DicomwebPeer, Peers
from med3d_service.runs import transitions
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Role
from rig.service.api import open_api
from rig.service.parts import LEASES, add_run, preprocessed, refused, worker

HERE, ELSEWHERE = "default", "another hospital"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = open_api(tmp_path_factory.mktemp("data"))
    peer = {"url": "http://127.0.0.1:9/dicom-web", "sites": [ELSEWHERE]}
    made.app.state.service = replace(made.service, peers=Peers(dicomweb={"theirs": DicomwebPeer.model_validate(peer)}))
    yield made
    made.close()


@pytest.fixture(scope="module")
def keys(api):
    return {site: api.key(Role.WORKER, site=site) for site in (HERE, ELSEWHERE, "*")}


def said(value):
    return json.loads(value.model_dump_json())


def stages(api, run_id):
    """Where the run stands, seen past the API."""
    with api.service.database.read() as session:
        run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
        return run.status, run.attempt, run.lease_expires_at


def claimed(api, run_id):
    with api.service.database.write() as session:
        return transitions.claim_preprocess(session, run_id, worker(), LEASES).attempt


def test_a_worker_of_another_site_is_given_no_run_and_learns_of_none(api, keys):
    run_id, other = add_run(api.service.database), add_run(api.service.database)
    wanted = {"worker": said(worker()), "limit": 8}
    strange = api.request("POST", f"/worker/runs/{run_id}/claim", keys[ELSEWHERE], json=wanted)
    unknown = api.request("POST", "/worker/runs/no-such-run/claim", keys[ELSEWHERE], json=wanted)
    assert (strange.status_code, strange.json()["code"]) == (404, "unknown_run")
    assert strange.json()["detail"] == unknown.json()["detail"]
    for key in (HERE, "*"):
        answer = api.request("POST", f"/worker/runs/{run_id if key == HERE else other}/claim", keys[key], json=wanted)
        assert answer.status_code in {200, 409}, answer.text  # the second went along with the first


def test_batch_mates_of_another_site_stay_behind(api, keys):
    ours, theirs = add_run(api.service.database), add_run(api.service.database)
    with api.service.database.write() as session:
        study_id = session.scalars(select(RunRow.study_id).where(RunRow.id == theirs)).one()
        session.query(StudyRow).filter(StudyRow.id == study_id).update({"site": ELSEWHERE})
    wanted = {"worker": said(worker()), "limit": 64}
    claims = api.request("POST", f"/worker/runs/{ours}/claim", keys[HERE], json=wanted).json()["claims"]
    assert ours in {one["run_id"] for one in claims}
    assert theirs not in {one["run_id"] for one in claims}


def test_a_worker_of_another_site_moves_no_run_that_it_can_name(api, keys):
    run_id = add_run(api.service.database)
    attempt, key = claimed(api, run_id), keys[ELSEWHERE]
    before = stages(api, run_id)
    held = {"held": [{"run_id": run_id, "attempt": attempt}]}
    outcome = said(refused(attempt))
    tries = {
        "heartbeat": api.request("POST", "/worker/heartbeat", key, json=held),
        "release": api.request("POST", "/worker/release", key, json=held),
        "preprocessed": api.request(
            "PUT", "/worker/preprocessed", key, json={"runs": {run_id: said(preprocessed(attempt))}}
        ),
        "outcomes": api.request(
            "PUT", "/worker/outcomes", key, json={"outcomes": [{"run_id": run_id, "outcome": outcome}]}
        ),
    }
    for name, answer in tries.items():
        assert (answer.status_code, answer.json().get("over")) == (200, [run_id]), (name, answer.text)
    one = api.request("PUT", f"/worker/runs/{run_id}/outcome", key, json=outcome)
    assert (one.status_code, one.json()["code"]) == (404, "unknown_run")
    assert stages(api, run_id) == before
    run = f"/worker/runs/{api.ids['run_id']}"
    for path in (f"/worker/studies/{api.ids['study_id']}/appraisal", f"{run}/explanation", f"{run}/volumes"):
        assert api.request("GET", path, key).status_code == 404
    own = api.request("PUT", f"/worker/runs/{run_id}/outcome", keys[HERE], json=outcome)
    assert own.status_code == 204


def test_a_worker_predicts_for_its_own_site(api, keys):
    run_id = add_run(api.service.database)
    with api.service.database.write() as session:
        attempt = transitions.claim_preprocess(session, run_id, worker(), LEASES).attempt
        transitions.store_preprocessed(session, run_id, preprocessed(attempt))
    wanted = {"worker": said(worker()), "limit": 9}
    for site, expected in ((ELSEWHERE, []), (HERE, [run_id])):
        claims = api.request("POST", "/worker/claims/predict", keys[site], json=wanted).json()["claims"]
        assert [one["run_id"] for one in claims] == expected


def test_a_peer_of_another_site_is_neither_shown_nor_asked(api):
    theirs, ours = (api.key(Role.OPERATOR, site=site) for site in (ELSEWHERE, HERE))
    shown = [[one["name"] for one in api.request("GET", "/peers", key).json()["items"]] for key in (theirs, ours)]
    assert shown == [["theirs"], []]
    wanted = {"source": "dicomweb", "peer": "theirs", "study_uid": "1.2.3"}
    assert api.request("POST", "/pulls", ours, json=wanted).json()["code"] == "unknown_peer"
    assert api.request("POST", "/peers/checks", ours, json={"peer": "theirs"}).json()["code"] == "unknown_peer"
    assert api.request("POST", "/pulls", theirs, json=wanted).status_code == 202
