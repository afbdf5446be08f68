"""Claims whose answer never came: the service has handed out, the worker asks again, and nobody worked."""

import httpx
import pytest
from sqlalchemy import select, update

from med3d_client.worker import Superseded, WorkerClient
from med3d_contract.work import ActiveAttempt, Heartbeat
from med3d_service.runs import transitions
from med3d_service.storage.tables import RunRow
from med3d_service.trust.access import Role
from rig.service.api import empty_api
from rig.service.parts import LEASES, add_run, preprocessed, worker


class LosesAnswers:
    """A line to the API that carries every request; of each claim's first answer only a broken connection comes."""

    def __init__(self, api):
        self.api, self.broken = api, False

    def __call__(self, request):
        sent = {"content": request.content, "headers": {"Content-Type": "application/json"}}
        answer = self.api.request(request.method, request.url.path, self.api.key(Role.WORKER), **sent)
        self.broken = not self.broken and "claim" in request.url.path
        if self.broken:
            raise httpx.ReadError("connection reset")
        return httpx.Response(answer.status_code, json=answer.json())


@pytest.fixture
def api(tmp_path):
    made = empty_api(tmp_path)
    yield made
    made.close()


@pytest.fixture
def line(api):
    transport = httpx.MockTransport(LosesAnswers(api))
    with WorkerClient("http://med3d", "any", transport=transport, sleep=lambda _s: None) as client:
        yield client


def read(api, run_id):
    with api.service.database.read() as session:
        return session.scalars(select(RunRow).where(RunRow.id == run_id)).one()


def let_leases_end(api):
    with api.service.database.write() as session:
        session.execute(update(RunRow).values(lease_expires_at=0.0).where(RunRow.lease_expires_at.is_not(None)))
    with api.service.database.write() as session:
        transitions.lose_expired(session, LEASES)


def test_answers_lost_on_the_way_to_the_worker_never_end_a_run(api, line):
    run_id = add_run(api.service.database)
    for _ in range(LEASES.max_tries):
        with pytest.raises(Superseded):  # of itself: the run is in the hands of who does not know
            line.claim_preprocess(run_id, worker())
        assert read(api, run_id).status == "preprocessing"
        let_leases_end(api)
    assert (read(api, run_id).status, read(api, run_id).tries) == ("queued", 0)
    with api.service.database.write() as session:
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        transitions.store_preprocessed(session, run_id, preprocessed(run.attempt))
    for _ in range(LEASES.max_tries):
        assert line.claim_predict(worker(), 1).claims == ()
        assert read(api, run_id).status == "predicting"
        let_leases_end(api)
    assert (read(api, run_id).status, read(api, run_id).tries) == ("preprocessed", 0)


def test_who_got_his_claim_after_its_lease_had_ended_is_told_so_before_he_begins(api, line):
    run_id = add_run(api.service.database)
    with pytest.raises(Superseded):
        line.claim_preprocess(run_id, worker())
    let_leases_end(api)
    late = ActiveAttempt(run_id=run_id, attempt=read(api, run_id).attempt)
    assert line.heartbeat(Heartbeat(held=(late,))) == {run_id}
    assert read(api, run_id).tries == 0
