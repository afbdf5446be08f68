"""The client that workers use, against the app itself: what one sends the other takes, and each refusal is understood."""

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import select

from med3d_client.worker import ApiError, Superseded, WorkerClient
from med3d_contract.results import RunStatus
from med3d_contract.work import (
    ActiveAttempt,
    Appraisal,
    Heartbeat,
    RunOutcome,
    SourceSeries,
    StoredOutcomes,
    WorkerHello,
)
from med3d_service.cohorts.tables import ScanFactsRow
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Role
from rig.service.api import open_api
from rig.service.parts import add_run, completed, failed, preprocessed, refused, worker

WORKER = worker()


class InThisProcess(httpx.BaseTransport):
    """The app without a network, for a client that knows nothing of asyncio."""

    def __init__(self, app):
        self._app = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request):
        async def answer():
            found = await self._app.handle_async_request(request)
            return httpx.Response(found.status_code, headers=found.headers, content=await found.aread())

        with start_blocking_portal() as portal:
            return portal.call(answer)


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path)
    yield made
    made.close()


@pytest.fixture
def connect(api):
    opened = []

    def made(key):
        opened.append(WorkerClient("http://med3d", key, transport=InThisProcess(api.app), sleep=lambda _: None))
        return opened[-1]

    yield made
    for client in opened:
        client.close()


@pytest.fixture
def client(api, connect):
    found = connect(api.key(Role.WORKER))
    found.hello(WorkerHello(worker=WORKER, queues=("preprocess", "predict", "publish")))
    return found


def status(api, run_id):
    return RunStatus(api.request("GET", f"/runs/{run_id}", api.key(Role.VIEWER)).json()["status"])


def claimed(api, client):
    run_id = add_run(api.service.database)
    return run_id, give_working_copy_and_claim(api, client, run_id)


def give_working_copy_and_claim(api, client, run_id):
    with api.service.database.write() as session:
        study_id = session.query(RunRow).filter_by(id=run_id).one().study_id
        copy = {"working_key": f"working/{study_id}.tar", "working_sha256": "0" * 64}
        session.query(StudyRow).filter_by(id=study_id).update(copy)
    (claim,) = client.claim_preprocess(run_id, WORKER).claims
    return claim


def held(run_id, attempt):
    return Heartbeat(held=(ActiveAttempt(run_id=run_id, attempt=attempt, stage="bias field"),))


def test_a_run_goes_by_the_client_from_claim_to_answer(api, client):
    run_id, claim = claimed(api, client)
    assert status(api, run_id) is RunStatus.PREPROCESSING
    assert client.heartbeat(held(run_id, claim.attempt)) == frozenset()
    assert client.preprocessed({run_id: preprocessed(claim.attempt)}) == frozenset()
    (prediction,) = client.claim_predict(WORKER, 8).claims
    assert prediction.run_id == run_id
    client.outcome(run_id, completed(prediction.attempt))
    client.outcome(run_id, completed(prediction.attempt))  # a message that came twice
    assert status(api, run_id) is RunStatus.COMPLETED
    assert client.claim_predict(WORKER, 8).claims == ()


def test_both_claims_carry_the_site_that_a_manifest_names(api, client):
    run_id = add_run(api.service.database)
    with api.service.database.write() as session:
        study_id = session.scalars(select(RunRow.study_id).where(RunRow.id == run_id)).one()
        session.add(ScanFactsRow(study_id=study_id, scan_site="HH"))
    claim = give_working_copy_and_claim(api, client, run_id)
    client.preprocessed({run_id: preprocessed(claim.attempt)})
    (prediction,) = client.claim_predict(WORKER, 8).claims
    assert (claim.subject.scan_site, prediction.subject.scan_site) == ("HH", "HH")


def test_the_predict_claim_carries_the_age_of_the_series_that_was_analysed(api, client):
    run_id = add_run(api.service.database)
    of_2005, of_2020 = ({"years": years, "source": "birth_date", "note": None} for years in (39.4, 54.4))
    with api.service.database.write() as session:
        study_id = session.scalars(select(RunRow.study_id).where(RunRow.id == run_id)).one()
        ages = {"found_age": of_2005, "series_ages": {"2.25.5": of_2005, "2.25.6": of_2020}}
        session.query(StudyRow).filter_by(id=study_id).update(ages)
    claim = give_working_copy_and_claim(api, client, run_id)
    source = SourceSeries(series_uid="2.25.6", sop_class_uid="1.2", instance_uids=("2.25.7",))
    client.preprocessed({run_id: preprocessed(claim.attempt, source=source)})
    (prediction,) = client.claim_predict(WORKER, 8).claims
    assert prediction.subject.age.years == 54.4


@pytest.mark.parametrize("made", [refused, lambda attempt: failed(attempt, retryable=False)])
def test_every_other_end_is_taken_too(api, client, made):
    run_id, claim = claimed(api, client)
    client.outcome(run_id, made(claim.attempt))
    assert status(api, run_id) in {RunStatus.REFUSED, RunStatus.FAILED}


def test_a_stage_that_another_has_is_superseded_for_whoever_asks_or_answers_late(api, client):
    run_id, claim = claimed(api, client)
    with pytest.raises(Superseded):
        client.claim_preprocess(run_id, WORKER)
    assert client.heartbeat(held(run_id, claim.attempt + 1)) == {run_id}
    assert client.preprocessed({run_id: preprocessed(claim.attempt + 1)}) == {run_id}


def test_whatever_is_said_late_of_an_erased_study_is_superseded(api, client):
    run_id, claim = claimed(api, client)
    with api.service.database.write() as session:  # its lease ran out meanwhile
        session.query(RunRow).where(RunRow.id == run_id).update({"status": RunStatus.QUEUED})
    erased = api.request("DELETE", f"/studies/{claim.study_id}", api.key(Role.ADMIN))
    assert erased.status_code == 200, erased.text
    appraisal = Appraisal(working_copy_sha256="0" * 64, eligible=())
    for late in (
        lambda: client.claim_preprocess(run_id, WORKER),
        lambda: client.outcome(run_id, completed(claim.attempt)),
        lambda: client.outcome(run_id, failed(claim.attempt, retryable=True)),
        lambda: client.appraisal_request(claim.study_id),
        lambda: client.appraised(claim.study_id, appraisal),
    ):
        with pytest.raises(Superseded):
            late()
    ended = StoredOutcomes(outcomes=(RunOutcome(run_id=run_id, outcome=completed(claim.attempt)),))
    for over in (
        client.heartbeat(held(run_id, claim.attempt)),
        client.preprocessed({run_id: preprocessed(claim.attempt)}),
        client.outcomes(ended),
    ):
        assert over == {run_id}


def test_a_key_of_people_is_told_so_and_not_tried_again(api, connect):
    with pytest.raises(ApiError, match="wrong_scope"):
        connect(api.key(Role.ADMIN)).claim_predict(WORKER, 1)
