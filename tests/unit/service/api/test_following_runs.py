"""One stream says what happens to all runs that a key may see: from now, or from where one was cut off."""

import asyncio
import json

import pytest
from sqlalchemy import event, update

from med3d_service.api.routes.runs.events import follow
from med3d_service.runs.following import events_after, newest_event
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Role
from rig.service.api import empty_api
from rig.service.parts import add_run


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = empty_api(tmp_path_factory.mktemp("data"))
    yield made
    made.close()


class Following:
    """What a route has of its request while it streams."""

    def __init__(self, api, key):
        self.app, self.headers = api.app, {"authorization": f"Bearer {key}"}
        self.scope = {"client": ("127.0.0.1", 1)}
        self.caller = api.app.state.gate.who_calls(self.scope, self.headers["authorization"])
        self.scope["state"] = {"caller": self.caller}

    async def is_disconnected(self):
        return False


def heard(api, seen, count, **grant):
    """The first words of a stream from event ``seen``."""
    request = Following(api, api.key(Role.VIEWER, **grant))

    async def listen():
        stream = follow(request, api.service, request.caller, seen)
        return [await anext(stream) for _ in range(count)]

    return asyncio.run(listen())


def now(api):
    with api.service.database.read() as session:
        return newest_event(session)


def test_what_was_missed_comes_when_one_comes_back_and_other_sites_runs_do_not(api):
    before = now(api)
    theirs, mine = add_run(api.service.database), add_run(api.service.database)
    with api.service.database.write() as session:
        study = session.query(RunRow).where(RunRow.id == theirs).one().study_id
        session.execute(update(StudyRow).where(StudyRow.id == study).values(site="elsewhere"))
    first, second = heard(api, before, 2, site="default")
    assert (first.event, first.id) == ("from", str(before))
    assert (second.event, json.loads(second.data)["run_id"], second.id) == ("run", mine, str(now(api)))
    assert [json.loads(one.data)["run_id"] for one in heard(api, before, 3)[1:]] == [theirs, mine]


def test_what_happens_elsewhere_is_looked_at_once_and_an_idle_look_reads_no_study(api):
    before, asked = now(api), []
    theirs = add_run(api.service.database)
    with api.service.database.write() as session:
        study = session.query(RunRow).where(RunRow.id == theirs).one().study_id
        session.execute(update(StudyRow).where(StudyRow.id == study).values(site="elsewhere"))
    caller = Following(api, api.key(Role.VIEWER, site="default")).caller
    with api.service.database.read() as session:
        assert events_after(session, caller, before) == ([], now(api))
        event.listen(session.connection(), "before_cursor_execute", lambda *given: asked.append(given[2]))
        assert events_after(session, caller, now(api)) == ([], now(api))
    assert not any("studies" in one for one in asked)
