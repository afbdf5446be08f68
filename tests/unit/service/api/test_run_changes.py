"""Several runs changed at once: each that can be, once, with its own entry in the trail; no other site's."""

import json

import pytest
from sqlalchemy import update

from med3d_contract.results import Priority
from med3d_service.problems import ServiceError
from med3d_service.runs import transitions
from med3d_service.storage.tables import RunEventRow, RunRow, StudyRow
from med3d_service.trust.access import Role
from med3d_service.trust.audit.trail import entries
from rig.service.api import open_api
from rig.service.parts import LEASES, add_run, failed, preprocessed, worker


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = open_api(tmp_path_factory.mktemp("data"))
    yield made
    made.close()


def asked(api, change, *run_ids, key=None):
    body = {"change": change, "run_ids": run_ids}
    return api.request("POST", "/runs/changes", key or api.key(Role.OPERATOR), json=body)


def status_of(api, run_id):
    with api.service.database.read() as session:
        return session.query(RunRow).where(RunRow.id == run_id).one().status


def failed_run(api):
    run_id = add_run(api.service.database)
    with api.service.database.write() as session:
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        transitions.store_outcome(session, run_id, failed(run.attempt, retryable=False), LEASES)
    return run_id


def test_runs_are_taken_back_whether_they_wait_or_are_in_work(api):
    waits, in_work = add_run(api.service.database), add_run(api.service.database)
    with api.service.database.write() as session:
        attempt = transitions.claim_preprocess(session, in_work, worker(), LEASES).attempt
    told = asked(api, "cancel", waits, in_work).json()
    assert [one["run_id"] for one in told["changed"]] == [waits, in_work]
    assert (status_of(api, waits), status_of(api, in_work)) == ("cancelled", "cancelled")
    with api.service.database.write() as session, pytest.raises(ServiceError) as late:
        transitions.store_preprocessed(session, in_work, preprocessed(attempt))
    assert late.value.code == "attempt_over"
    again = asked(api, "cancel", waits, in_work).json()
    assert (again["changed"], {one["code"] for one in again["left"]}) == ([], {"run_over"})
    with api.service.database.read() as session:
        events = session.query(RunEventRow).where(RunEventRow.run_id == waits, RunEventRow.status == "cancelled")
        assert [event.code for event in events] == ["cancelled"]


def test_a_cancelled_run_is_done_again_by_a_new_one_that_is_sent(api):
    run_id = failed_run(api)
    told = asked(api, "requeue", run_id, run_id, "none").json()
    stands = told["changed"][0]["stands"]
    assert (len(told["changed"]), stands != run_id) == (1, True)
    assert [(one["run_id"], one["code"]) for one in told["left"]] == [("none", "unknown_run")]
    assert (stands, "queued", 3) in api.service.broker.sent
    assert asked(api, "requeue", run_id).json()["left"][0]["code"] == "not_requeueable"


def test_runs_are_hurried_and_given_time_again(api):
    run_id = add_run(api.service.database, priority=Priority.COHORT)
    for change, priority in (("stat", 0), ("routine", 3)):
        assert asked(api, change, run_id).json()["changed"] == [{"run_id": run_id, "stands": run_id}]
        assert api.service.broker.sent[-1] == (run_id, "queued", priority)
    assert asked(api, "routine", run_id).json()["left"][0]["code"] == "as_asked"


def test_each_change_has_its_entry_and_another_site_s_runs_are_not_there(api):
    mine, theirs = add_run(api.service.database), add_run(api.service.database)
    with api.service.database.write() as session:
        study_id = session.query(RunRow).where(RunRow.id == theirs).one().study_id
        session.execute(update(StudyRow).where(StudyRow.id == study_id).values(site="elsewhere"))
    told = asked(api, "cancel", theirs, mine, key=api.key(Role.OPERATOR, site="default")).json()
    assert [one["run_id"] for one in told["changed"]] == [mine]
    assert told["left"] == [{"run_id": theirs, "code": "unknown_run", "detail": told["left"][0]["detail"]}]
    assert status_of(api, theirs) == "queued"
    with api.service.database.read() as session:
        found = [one for one in entries(session) if one.object_id in {mine, theirs}]
    assert [(one.action, one.object_id, json.loads(one.detail)["asked"]) for one in found] == [
        ("change", mine, "cancel")
    ]


def test_what_cannot_be_asked_is_a_problem(api):
    assert asked(api, "erase", "x").status_code == 422
    assert asked(api, "cancel").status_code == 422
    assert asked(api, "cancel", *(f"run-{number}" for number in range(201))).status_code == 422
    assert asked(api, "cancel", "x", key=api.key(Role.SUBMITTER)).json()["code"] == "wrong_scope"
