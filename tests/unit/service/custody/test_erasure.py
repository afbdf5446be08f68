"""Erasing a study: nothing of it is left in any table or in the store, whatever broke off in between."""

import importlib
import uuid

import grimp
import pytest
from sqlalchemy import select

from med3d_contract.backoff import Backoff
from med3d_contract.explanations import explanation_key
from med3d_contract.volumes import all_volume_keys
from med3d_contract.work import PreprocessedObject, PreprocessedRuns
from med3d_service.custody.erasure import finish_erasures
from med3d_service.custody.erasure.rows import STUDIES, _leads_to_studies, delete_rows, versions_of
from med3d_service.custody.erasure.tables import TombstoneRow
from med3d_service.custody.retention import finish_removals
from med3d_service.network.pulls.line import ASKED, Origin
from med3d_service.network.pulls.wanted import PullRequest
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.outbox import Patience
from med3d_service.runs import transitions
from med3d_service.storage.tables import Base, RunRow, StudyRow
from med3d_service.trust.access import Role
from med3d_service.trust.audit.trail import entries
from rig.dicom.uploads import dicom_files
from rig.service.api import open_api
from rig.service.arriving import Intake, saved, slices
from rig.service.parts import LEASES, completed, preprocessed, worker

TENSOR = "tensors/ab/abc.npz"
PATIENCE = Patience(Backoff(first_s=1.0, longest_s=8.0), give_up_s=100.0, lease_s=30.0)
REMEMBERED = {"tombstones", "audit_trail"}


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path)
    with made.service.database.write() as session:
        outbox.plan(session, [], PATIENCE)  # what was there before is planned
    yield made
    made.close()


def submitted(api, number=0):
    """A study by POST, with a run that has ended, and everything that one leaves in the store; its ids."""
    header = {"PatientID": f"P-{number}", "AccessionNumber": f"A-{number}", "StudyInstanceUID": f"1.2.{number}"}
    files = [("files", (f"{i}.dcm", data)) for i, data in enumerate(dicom_files(6, series=f"s{number}", **header))]
    ids = api.request("POST", "/studies", api.key(Role.SUBMITTER), files=files).json()
    service, run_id = api.service, ids["run_id"]
    service.store.put(f"working/{ids['study_id']}.tar", b"copy")
    with service.database.write() as session:
        session.query(StudyRow).where(StudyRow.id == ids["study_id"]).update({"working_status": "ready"})
        service.vault.keep(session, ids["study_id"], "accession_number", f"A-{number}")  # as the courier does
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        tensor = PreprocessedObject(key=TENSOR, sha256="0" * 64)
        left = preprocessed(run.attempt).model_copy(update={"tensor": tensor})
        transitions.store_preprocessed(session, run_id, left)
        (run,) = transitions.claim_predict(session, worker(), 1, LEASES)
        transitions.store_outcome(session, run_id, completed(run.attempt), LEASES)
        outbox.plan(session, [], PATIENCE)
        wanted = PullRequest.model_validate({"source": "dicomweb", "peer": "archive", "accession": f"A-{number}"})
        service.pulls.ask(session, Origin("default", "request", "dicomweb", "archive"), wanted.wanted(), urgency=ASKED)
    for key in (
        TENSOR,
        f"results/{run_id}.2.json",
        f"reports/{run_id}/sr",
        explanation_key(run_id),
        *all_volume_keys(run_id),
    ):
        service.store.put(key, b"content")
    return ids


def erase(api, study_id, **more):
    return api.request("DELETE", f"/studies/{study_id}?reason=consent-withdrawn", api.key(Role.ADMIN), **more)


def everything_in(database, but=REMEMBERED):
    """All rows that the database holds, as text, by table."""
    with database.read() as session:
        return {
            table.name: [str(row) for row in session.execute(select(table))]
            for table in Base.metadata.sorted_tables
            if table.name not in but
        }


def stored(service):
    folders = ("originals", "working", "tensors", "pictures", "results", "reports", "explanations", "volumes")
    return {found.key for folder in folders for found in service.store.list(folder)}


def test_nothing_of_an_erased_study_is_left_but_a_tombstone_and_an_entry(api):
    before, objects = everything_in(api.service.database), stored(api.service)
    ids = submitted(api)
    answer = erase(api, ids["study_id"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["study_ids"] == [ids["study_id"]]
    after = everything_in(api.service.database)
    for name, rows in after.items():
        assert not any(ids["study_id"] in row or ids["run_id"] in row for row in rows), name
    for name in ("identifiers", "instances", "uploads", "pulls", "outbox", "deliveries", "runs"):
        assert len(after[name]) == len(before[name]), name
    assert stored(api.service) == objects
    with api.service.database.read() as session:
        tombstone = session.get_one(TombstoneRow, ids["study_id"])
        assert (tombstone.runs, tombstone.objects, tombstone.actor_kind) == (1, [], "key")
        assert tombstone.finished_at is not None
        last = list(entries(session))[-1]
    assert (last.action, last.object_id) == ("erase", ids["study_id"])
    assert '"reason":"consent-withdrawn"' in last.detail
    assert api.request("GET", f"/studies/{ids['study_id']}", api.key(Role.ADMIN)).status_code == 404
    assert erase(api, ids["study_id"]).status_code == 404


def test_the_same_study_that_is_sent_again_is_a_new_one(api):
    first = submitted(api)
    erase(api, first["study_id"])
    second = submitted(api)
    assert second["study_id"] != first["study_id"]
    assert api.request("GET", f"/runs/{second['run_id']}", api.key(Role.VIEWER)).json()["status"] == "completed"


def test_others_keep_what_is_theirs_and_what_they_share(api):
    first, second = submitted(api, 1), submitted(api, 2)
    erase(api, first["study_id"])
    assert TENSOR in stored(api.service), "the second run's cached tensor is of the same content"
    assert api.request("GET", f"/runs/{second['run_id']}", api.key(Role.VIEWER)).status_code == 200
    assert any(second["run_id"] in key for key in stored(api.service))
    erase(api, second["study_id"])
    assert TENSOR not in stored(api.service)


def test_an_erasure_that_was_broken_off_is_finished_by_the_next_sweep(api):
    ids = submitted(api)
    store, removed = api.service.store, []
    really_delete = store.delete

    def breaks_off(key):
        removed.append(key)
        if len(removed) == 3:
            raise OSError("the power is gone")
        really_delete(key)

    store.delete = breaks_off
    assert erase(api, ids["study_id"]).status_code == 200
    assert any(ids["run_id"] in key or ids["study_id"] in key for key in stored(api.service))
    store.delete = really_delete
    assert finish_erasures(api.service.database, api.service.store) == 1
    assert not any(ids["run_id"] in key or ids["study_id"] in key for key in stored(api.service))
    assert finish_erasures(api.service.database, api.service.store) == 0


def test_a_study_that_a_worker_holds_waits_until_it_is_done(api):
    ids = submitted(api)
    with api.service.database.write() as session:
        session.query(RunRow).where(RunRow.id == ids["run_id"]).update({"status": "predicting"})
    answer = erase(api, ids["study_id"])
    assert (answer.status_code, answer.json()["code"]) == (409, "study_in_work")
    assert api.request("GET", f"/studies/{ids['study_id']}", api.key(Role.VIEWER)).status_code == 200


def test_versions_that_share_instances_go_together(tmp_path):
    intake = Intake(tmp_path, {"quiet_s": 0.0})
    intake.take(*(saved(one) for one in slices(4)))
    study_id = intake.settling.settle(intake.settling.due()[0]).study_id
    with intake.database.write() as session:
        other = StudyRow(
            id=str(uuid.uuid4()), site="default", digest="f" * 64, created_at=0.0, files=1, skipped_files=0,
            working_status="waiting", working_tries=0,
        )  # fmt: skip
        session.add(other)
        session.flush()
        intake.row_of_arrival(session).late_study_id = other.id
    with intake.database.write() as session:
        assert versions_of(session, study_id) == versions_of(session, other.id) == {study_id, other.id}
        delete_rows(session, {study_id, other.id})
    left = everything_in(intake.database)
    assert {name for name, rows in left.items() if rows} <= {
        "bundles",
        "audit_head",
        "beats",
        "ledger_checks",
        "store_identity",
        "counters",  # how often, and by which AE title; of nobody
    }
    intake.arrivals.close()
    intake.database.close()


def test_with_if_match_a_study_goes_only_in_the_state_that_was_seen(api):
    ids = submitted(api)
    path, key = f"/studies/{ids['study_id']}", api.key(Role.ADMIN)
    etag = api.request("GET", path, key).headers["etag"]
    with api.service.database.write() as session:  # an answer comes that whoever erases has not seen
        session.query(RunRow).where(RunRow.id == ids["run_id"]).update({"status": "cancelled"})
    for seen in (etag, f"W/{etag}", '"other"'):
        refused = erase(api, ids["study_id"], headers={"If-Match": seen})
        assert (refused.status_code, refused.json()["code"]) == (412, "state_changed")
    now = api.request("GET", path, key).headers["etag"]
    assert erase(api, ids["study_id"], headers={"If-Match": f'"other", {now}'}).status_code == 200
    assert erase(api, ids["study_id"], headers={"If-Match": now}).status_code == 404


def test_the_document_says_that_an_erasure_may_be_conditional(api):
    erasing = api.app.openapi()["paths"]["/studies/{study_id}"]["delete"]
    assert "412" in erasing["responses"]
    assert "if-match" in {one["name"] for one in erasing["parameters"]}


def test_what_a_worker_stores_for_a_study_that_was_erased_meanwhile_goes_too(api):
    service, ids, other = api.service, submitted(api, 1), submitted(api, 2)
    assert erase(api, ids["study_id"]).status_code == 200
    finish_erasures(service.database, service.store)

    def late(tensor, pictures="pictures/p.json"):
        left = preprocessed(1, pictures=PreprocessedObject(key=pictures, sha256="0" * 64)).model_copy(
            update={"tensor": PreprocessedObject(key=tensor, sha256="0" * 64)}
        )
        body = PreprocessedRuns(runs={ids["run_id"]: left}).model_dump(mode="json")
        for key in (tensor, pictures):
            service.store.put(key, b"left")
        answer = api.request("PUT", "/worker/preprocessed", api.key(Role.WORKER), json=body)
        assert answer.json() == {"over": [ids["run_id"]]}
        finish_removals(service.database, service.store)

    late("tensors/of/the-erased.npz")
    assert not {one.key for one in service.store.list("tensors")} & {"tensors/of/the-erased.npz"}
    assert list(service.store.list("pictures")) == []
    late(TENSOR)  # as another study's run has it
    assert service.store.head(TENSOR) is not None
    original = next(one.key for one in service.store.list("originals"))
    late(original)
    assert service.store.head(original) is not None, "a worker's word removes nothing else"
    assert api.request("GET", f"/studies/{other['study_id']}", api.key(Role.VIEWER)).status_code == 200


def test_erasing_knows_every_table_that_refers_to_studies_whoever_else_is_there():
    """In a process that has no use for a table nobody else imports it, and its rows would be left."""
    graph = grimp.build_graph("med3d_service", cache_dir=None)
    for module in graph.modules:
        if module.endswith("tables"):
            importlib.import_module(module)
    known = graph.find_upstream_modules("med3d_service.custody.erasure.rows")
    belonging = {
        mapper.class_.__module__
        for mapper in Base.registry.mappers
        if mapper.local_table is not STUDIES and _leads_to_studies(mapper.local_table, frozenset())
    }
    assert belonging >= {"med3d_service.cohorts.tables", "med3d_service.storage.arrival_tables"}
    assert belonging - known == set()
