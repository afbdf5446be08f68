"""Requests leave an entry in the audit trail before they are answered, and callers have their share and no more."""

import json
import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from med3d_contract.work import (
    ActiveAttempt,
    ClaimRequest,
    Heartbeat,
    PredictClaimRequest,
    PreprocessedRuns,
    Release,
    RunOutcome,
    StoredOutcomes,
    WorkerHello,
)
from med3d_service.api.http.headers import SECURITY_HEADERS
from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.trust.access import Role
from med3d_service.trust.access.throttle import Throttle
from med3d_service.trust.audit.trail import entries
from rig.service.api import open_api
from rig.service.parts import add_run, preprocessed, refused, worker


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path)
    yield made
    made.close()


def trail_of(api):
    with api.service.database.read() as session:
        return list(entries(session))


def last(api):
    row = trail_of(api)[-1]
    return (row.actor, row.action, row.outcome, row.object_kind, row.object_id)


def detail_of(api):
    return json.loads(trail_of(api)[-1].detail)


def prefix(key):
    return key.split("_")[1]


def test_who_reads_a_run_is_in_the_trail_with_where_from(api):
    key = api.key(Role.VIEWER)
    assert api.request("GET", f"/runs/{api.ids['run_id']}", key).status_code == 200
    assert last(api) == (prefix(key), "read", "done", "run", api.ids["run_id"])
    assert trail_of(api)[-1].address == "127.0.0.1"
    assert api.service.audit.verify().entries == 1


def test_who_looks_at_a_picture_of_a_run_has_looked_at_the_run(api):
    key = api.key(Role.VIEWER, clinical=True)
    for path in ("pictures/axial", "volumes/head"):
        api.request("GET", f"/runs/{api.ids['run_id']}/{path}", key)
        assert last(api)[1::2] == ("read", "run")
        assert last(api)[4] == api.ids["run_id"]


def test_reading_the_same_again_within_a_minute_is_one_entry(api):
    key, other = api.key(Role.VIEWER), api.key(Role.VIEWER)
    for who in (key, key, other, key):
        api.request("GET", f"/runs/{api.ids['run_id']}", who)
    assert [row.actor for row in trail_of(api)] == [prefix(key), prefix(other)]


def test_a_search_says_by_what_kind_of_identifier_and_never_by_which(api):
    key = api.key(Role.VIEWER, clinical=True)
    api.request("GET", "/studies?patient_id=CANARYBIRD", key)
    assert last(api)[1:4] == ("search", "done", "study")
    assert '"sought":"patient_id"' in trail_of(api)[-1].detail
    api.request("GET", "/runs/CANARYBIRD", key)
    api.request("GET", "/CANARYBIRD", key)
    assert all("CANARYBIRD" not in str(vars(row)) for row in trail_of(api))


def test_changes_and_refusals_are_recorded_each_time(api):
    submitter, viewer = api.key(Role.SUBMITTER), api.key(Role.VIEWER)
    path = f"/studies/{api.ids['study_id']}/runs"
    api.request("POST", path, submitter, json={})
    assert last(api) == (prefix(submitter), "change", "done", "study", api.ids["study_id"])
    for _ in range(2):
        assert api.request("POST", path, viewer, json={}).status_code == 403
    assert [row.outcome for row in trail_of(api)] == ["done", "denied", "denied"]


def test_a_key_that_opens_nothing_is_recorded_without_being_kept(api):
    api.request("GET", "/runs", "m3d_00000000_secretsecret")
    row = trail_of(api)[-1]
    assert (row.actor_kind, row.action, row.outcome, row.address) == ("nobody", "enter", "denied", "127.0.0.1")
    assert "secret" not in str(vars(row))


def test_what_shows_nobodys_data_leaves_no_entry(api):
    for path in ("/healthz", "/metrics", "/bundles", "/openapi.json"):
        api.request("GET", path, api.key(Role.VIEWER))
    assert trail_of(api) == []


def test_heartbeats_and_polls_of_workers_leave_no_entry_unless_they_are_turned_away(api):
    key, beat = api.key(Role.WORKER), Heartbeat(held=(ActiveAttempt(run_id=api.ids["run_id"], attempt=1),))
    said = WorkerHello(worker=worker(), queues=("predict",)).model_dump(mode="json")
    wanted = PredictClaimRequest(worker=worker(), limit=1).model_dump(mode="json")
    for _ in range(5):
        assert api.request("POST", "/worker/heartbeat", key, json=beat.model_dump(mode="json")).status_code == 200
    assert api.request("POST", "/worker/hello", key, json=said).status_code == 204
    assert api.request("POST", "/worker/claims/predict", key, json=wanted).status_code == 200
    assert trail_of(api) == []
    viewer = api.key(Role.VIEWER)
    assert api.request("POST", "/worker/heartbeat", viewer, json=beat.model_dump(mode="json")).status_code == 403
    assert last(api)[1:3] == ("change", "denied")


def test_what_a_worker_says_of_many_runs_is_recorded_with_each_of_them(api):
    key, database = api.key(Role.WORKER), api.service.database
    run_ids = sorted(add_run(database) for _ in range(2))
    claimed = ClaimRequest(worker=worker(), limit=2).model_dump(mode="json")
    assert api.request("POST", f"/worker/runs/{run_ids[0]}/claim", key, json=claimed).status_code == 200
    assert (last(api)[1], detail_of(api)["ids"]) == ("read", " ".join(run_ids))
    done = PreprocessedRuns(runs=dict.fromkeys(run_ids, preprocessed(1))).model_dump(mode="json")
    ended = StoredOutcomes(outcomes=[RunOutcome(run_id=one, outcome=refused(1)) for one in run_ids])
    held = Release(held=[ActiveAttempt(run_id=one, attempt=1) for one in run_ids]).model_dump(mode="json")
    calls = {
        ("PUT", "/worker/preprocessed"): done,
        ("PUT", "/worker/outcomes"): ended.model_dump(mode="json"),
        ("POST", "/worker/release"): held,
    }
    for (method, path), body in calls.items():
        assert api.request(method, path, key, json=body).status_code == 200, path
        assert last(api) == (prefix(key), "change", "done", "run", "")
        assert detail_of(api) == {"count": 2, "ids": " ".join(run_ids), "route": path, "status": 200}
    alone = StoredOutcomes(outcomes=[RunOutcome(run_id=run_ids[0], outcome=refused(1))]).model_dump(mode="json")
    api.request("PUT", "/worker/outcomes", key, json=alone)
    assert last(api)[3:] == ("run", run_ids[0])


def test_what_a_worker_calls_a_run_stays_out_of_the_trail_where_it_is_no_id_of_ours(api):
    alone = StoredOutcomes(outcomes=[RunOutcome(run_id="CANARYBIRD", outcome=refused(1))]).model_dump(mode="json")
    api.request("PUT", "/worker/outcomes", api.key(Role.WORKER), json=alone)
    assert last(api)[3:] == ("run", "unknown")


def test_what_cannot_be_recorded_is_not_shown(api):
    def full(_event):
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    api.service.audit.record = full
    answer = api.request("GET", f"/runs/{api.ids['run_id']}", api.key(Role.VIEWER))
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
    assert "run_id" not in answer.text
    assert api.request("GET", "/healthz").status_code == 200


# --- shares ---


def test_who_asks_too_often_waits_and_nobody_else_does(tmp_path):
    api = open_api(tmp_path, requests_per_minute=5)
    busy, other, worker = api.key(Role.VIEWER), api.key(Role.VIEWER), api.key(Role.WORKER)
    statuses = [api.request("GET", "/bundles", busy).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    refused = api.request("GET", "/bundles", busy)
    assert refused.json()["code"] == "too_many_requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert api.request("GET", "/bundles", other).status_code == 200
    path = f"/worker/studies/{api.ids['study_id']}/appraisal"
    assert {api.request("GET", path, worker).status_code for _ in range(9)} == {404}
    api.close()


def test_who_has_too_much_under_way_waits_until_it_is_over(tmp_path):
    api = open_api(tmp_path, parallel_requests=1)
    key = api.key(Role.VIEWER)
    assert [api.request("GET", "/bundles", key).status_code for _ in range(3)] == [200] * 3, "one after the other"
    throttle = api.app.state.gate.throttle
    held = {}
    throttle.admit(api.app.state.gate.caller(key, "here"), held)
    refused = api.request("GET", "/bundles", key)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    with throttle._released(held):
        pass
    assert api.request("GET", "/bundles", key).status_code == 200
    api.close()


def test_guessing_keys_is_slowed_down_and_a_key_that_works_is_not(tmp_path):
    api = open_api(tmp_path, failed_keys_per_minute=3)
    statuses = [api.request("GET", "/runs", "m3d_00000000_guess").status_code for _ in range(5)]
    assert statuses == [401] * 3 + [429] * 2
    assert len(trail_of(api)) == 3, "a flood does not fill the trail"
    assert api.request("GET", "/runs", api.key(Role.VIEWER)).status_code == 200
    api.close()


def test_whoever_has_a_network_of_ipv6_guesses_no_more_than_others():
    throttle = Throttle(Settings(failed_keys_per_minute=3))
    for number in range(3):
        throttle.note_failure(f"2001:db8::{number}")
    with pytest.raises(ServiceError, match="too_many_requests"):
        throttle.note_failure("2001:db8::ffff")
    throttle.note_failure("2001:db8:0:1::1")


@pytest.mark.parametrize("path", ["/healthz", "/runs", "/nothing", "/runs/unknown"])
def test_every_answer_carries_the_security_headers(api, path):
    for key in (None, api.key(Role.VIEWER)):
        headers = api.request("GET", path, key).headers
        for name, value in SECURITY_HEADERS.items():
            assert headers[name] == value
