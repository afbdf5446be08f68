"""A stream of events ends when the key that opened it is revoked or has expired."""

import asyncio

import pytest

from med3d_service.api.routes import goes_on
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
