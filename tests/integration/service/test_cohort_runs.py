"""A cohort worked through by the service's own processes, on both databases, with a worker played by the test."""

import io
import uuid

import pytest

from med3d_client.study_stream import Upload
from med3d_client.transport import Conflict
from med3d_client.worker import Superseded
from med3d_contract.cohorts import CohortDraft, ReprocessingRequest
from med3d_contract.results import BundleRef
from rig.dicom.uploads import nifti_file
from rig.processes.waiting import wait_until
from rig.service.parts import completed, failed, preprocessed, worker

BUNDLE = BundleRef(name="cohort-bundle", version="1", digest="d" * 64)
NEXT = BundleRef(name="cohort-bundle", version="2", digest="e" * 64)
PATIENCE_S = 120
WORKER = worker(bundles=(BUNDLE, NEXT)).model_copy(
    update={"preprocessing_digests": {BUNDLE.digest: "p" * 64, NEXT.digest: "p" * 64}}
)


@pytest.fixture
def service(shared_processes):
    shared_processes.hello(WORKER)
    return shared_processes


def filled(cohorts, count):
    """A cohort of new studies."""
    made = cohorts.create(CohortDraft(name=f"c-{uuid.uuid4().hex[:12]}", bundle="cohort-bundle@1"))
    for _ in range(count):
        cohorts.send(made.name, Upload("study.nii", io.BytesIO(nifti_file() + uuid.uuid4().bytes)))
    return made.name


def claimed(service, run_id):
    try:
        return service.worker.claim_preprocess(run_id, WORKER).claims[0]
    except Superseded:
        return None


def queued(service, count):
    """So many of the cohort's runs, claimed."""

    def found():
        items = service.client.get("/runs", params={"status": "queued", "limit": 50}).json()["items"]
        return (
            len(ours := [item["run_id"] for item in items if item["bundle"]["digest"] == BUNDLE.digest]) >= count
            and ours
        )

    waiting = wait_until(found, "the cohort's runs", PATIENCE_S)[:count]
    return [wait_until(lambda one=one: claimed(service, one), "the claim", PATIENCE_S) for one in waiting]


def test_a_cohort_is_worked_through_beside_a_stat_study_and_again_by_the_next_bundle(service, cohorts):
    name = filled(cohorts, 3)
    assert cohorts.reprocess(name, ReprocessingRequest()).status == "running"
    with pytest.raises(Conflict, match="worked through already"):
        cohorts.reprocess(name, ReprocessingRequest())
    claims = queued(service, 3)
    for claim in claims:
        service.worker.preprocessed({claim.run_id: preprocessed(claim.attempt)})
    first, second, third = service.claim_predict(WORKER, 3)
    service.worker.outcome(first.run_id, completed(first.attempt))
    service.worker.outcome(second.run_id, failed(second.attempt, retryable=False))
    service.worker.outcome(third.run_id, completed(third.attempt))

    last = list(cohorts.follow(name))[-1]
    assert last.status == "finished"
    assert (last.members.completed, last.members.failed) == (2, 1)
    assert [(problem.code, problem.study_ids) for problem in last.problems] == [("out_of_memory", (second.study_id,))]

    cohorts.reprocess(name, ReprocessingRequest(bundle="cohort-bundle@2"))
    waiting = wait_until(
        lambda: cohorts.progress(name).members.preprocessed == 3, "runs that begin at prediction", PATIENCE_S
    )
    assert waiting
    for claim in service.claim_predict(WORKER, 3):
        assert claim.bundle == NEXT
        service.worker.outcome(claim.run_id, completed(claim.attempt))
    assert list(cohorts.follow(name))[-1].members.completed == 3
    assert cohorts.progress(name, "cohort-bundle@1").members.failed == 1


def test_a_pause_holds_what_waits_and_cancelling_takes_it_back(service, cohorts):
    name = filled(cohorts, 2)
    cohorts.reprocess(name, ReprocessingRequest())
    wait_until(lambda: cohorts.progress(name).members.queued == 2, "the runs", PATIENCE_S)
    assert cohorts.move(name, "pause").status == "paused"
    items = service.client.get("/runs", params={"status": "queued"}).json()["items"]
    ours = [item["run_id"] for item in items if item["bundle"]["digest"] == BUNDLE.digest]
    assert [claimed(service, run_id) for run_id in ours] == [None, None]
    assert cohorts.move(name, "resume").status == "running"
    assert cohorts.move(name, "cancel").status == "cancelled"
    assert cohorts.progress(name).members.waiting == 2
    with pytest.raises(Conflict, match="not being worked through"):
        cohorts.move(name, "pause")


def test_a_window_needs_a_schedule(cohorts):
    with pytest.raises(Conflict, match="has no schedule"):
        cohorts.reprocess(filled(cohorts, 0), ReprocessingRequest(in_window=True))
