"""A stream of events ends when the key that opened it is revoked or has expired."""

import asyncio

import pytest
from sqlalchemy import update

from med3d_contract.results import RunStatus
from med3d_service.api.routes import goes_on
from med3d_service.storage.tables import RunRow
from med3d_service.trust.access import Role
from med3d_service.trust.access.api_keys import revoke_key
from rig.service.api import open_api


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path)
    yield made
    made.close()


class Following:
    """What a route has of its request while it streams."""

    def __init__(self, api, key):
        self.app, self.headers = api.app, {"authorization": f"Bearer {key}"}
        self.scope = {"client": ("127.0.0.1", 1)}
        caller = api.app.state.gate.who_calls(self.scope, self.headers["authorization"])
        self.scope["state"] = {"caller": caller}

    async def is_disconnected(self):
        return False


def test_a_stream_goes_on_until_its_key_is_revoked(api):
    key, other = api.key(Role.VIEWER), api.key(Role.VIEWER)
    mine, theirs = Following(api, key), Following(api, other)
    assert asyncio.run(goes_on(mine))
    with api.service.database.write() as session:
        revoke_key(session, key.split("_")[1])
    assert not asyncio.run(goes_on(mine))
    assert asyncio.run(goes_on(theirs))


def streams(api):
    """The path of every route that streams events, of which the document leaves out that of the pages."""
    documented = {path for path, methods in api.app.openapi()["paths"].items() if "event-stream" in str(methods)}
    return sorted(documented | {"/events"})


def test_each_stream_ends_with_the_key_that_opened_it_and_no_other_does(api):
    with api.service.database.write() as session:
        session.execute(update(RunRow).values(status=RunStatus.QUEUED, finished_at=None))
    started = api.request("POST", f"/cohorts/{api.ids['cohort']}/reprocess", api.key(Role.OPERATOR), json={})
    assert started.json()["status"] == "running", started.text
    paths = streams(api)
    assert paths == ["/cohorts/{cohort}/events", "/events", "/runs/{run_id}/events"]
    keys = {path: api.key(Role.VIEWER, clinical=True) for path in paths}

    def revoke(path):
        with api.service.database.write() as session:
            revoke_key(session, keys[path].split("_")[1])

    async def follow():
        following = {
            path: asyncio.create_task(
                api.client.get(path.format(**api.ids), headers={"Authorization": f"Bearer {key}"}, timeout=30.0)
            )
            for path, key in keys.items()
        }
        for path, task in reversed(following.items()):
            await asyncio.sleep(0.1)
            assert not any(following[other].done() for other in paths if other <= path)
            revoke(path)
            assert (await task).status_code == 200

    asyncio.run(follow())
