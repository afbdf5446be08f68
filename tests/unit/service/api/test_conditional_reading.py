"""A client that has an answer already is told so, and gets it again once it has changed; pages stay where they are."""

import pytest

from med3d_service.storage.tables import RunRow
from med3d_service.trust.access import Role
from rig.service.api import open_api
from rig.service.parts import add_run


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path)
    yield made
    made.close()


def read(api, key, path, **headers):
    return api.request("GET", path, key, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_who_has_the_state_of_a_run_gets_304_until_it_changes(api):
    key, path = api.key(Role.VIEWER), f"/runs/{api.ids['run_id']}"
    first = read(api, key, path)
    etag = first.headers["etag"]
    again = read(api, key, path, If_None_Match=f'"other", W/{etag}')
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    with api.service.database.write() as session:
        session.query(RunRow).where(RunRow.id == api.ids["run_id"]).update({"stage": "bias field"})
    changed = read(api, key, path, If_None_Match=etag)
    assert (changed.status_code, changed.json()["stage"]) == (200, "bias field")
    assert changed.headers["etag"] != etag


def test_an_etag_opens_nothing_to_who_may_not_see_it(api):
    etag = read(api, api.key(Role.VIEWER), f"/runs/{api.ids['run_id']}").headers["etag"]
    elsewhere = api.key(Role.VIEWER, site="elsewhere")
    assert read(api, elsewhere, f"/runs/{api.ids['run_id']}", If_None_Match=etag).status_code == 404
    assert read(api, None, f"/runs/{api.ids['run_id']}", If_None_Match=etag).status_code == 401


def test_streams_and_texts_pass_unchanged(api):
    key = api.key(Role.VIEWER)
    events = read(api, key, f"/runs/{api.ids['run_id']}/events")
    assert "event: run" in events.text
    assert "etag" not in events.headers
    assert read(api, key, "/metrics").text.startswith("#")


def test_the_document_says_304_where_it_can_come(api):
    paths = api.app.openapi()["paths"]
    assert "304" in paths["/runs/{run_id}"]["get"]["responses"]
    assert "304" not in paths["/metrics"]["get"]["responses"]


def test_pages_neither_repeat_nor_miss_a_run_while_new_ones_come(api):
    before = {api.ids["run_id"], *(add_run(api.service.database) for _ in range(6))}
    key, seen, cursor = api.key(Role.VIEWER), [], None
    while True:
        page = read(api, key, f"/runs?limit=2{f'&cursor={cursor}' if cursor else ''}").json()
        seen += [item["run_id"] for item in page["items"]]
        add_run(api.service.database)  # between each page and the next
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 7
    assert set(seen) == before


def test_runs_are_found_by_the_first_signs_of_their_ids_at_one_s_own_site_alone(api):
    run_id = api.ids["run_id"]
    for _ in range(3):
        add_run(api.service.database)
    key = api.key(Role.VIEWER)
    found = read(api, key, f"/runs?id_begins={run_id[:12]}").json()["items"]
    assert [item["run_id"] for item in found] == [run_id]
    assert read(api, api.key(Role.VIEWER, site="elsewhere"), f"/runs?id_begins={run_id[:12]}").json()["items"] == []
    assert read(api, key, "/runs?id_begins=%25").status_code == 422
