"""Views that people keep of their worklist: each their own, by name, bounded."""

import pytest

from med3d_service.runs.saved_views import MOST_VIEWS
from med3d_service.trust.access import Role
from rig.service.api import empty_api


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = empty_api(tmp_path_factory.mktemp("data"))
    yield made
    made.close()


def kept(api, key):
    return [(one["name"], one["shown"]) for one in api.request("GET", "/me/views", key).json()["items"]]


def test_a_view_is_kept_replaced_by_name_and_forgotten(api):
    key = api.key(Role.VIEWER)
    for name, shown in (("mine", "refused"), ("a", "failed"), (" mine ", "review")):
        told = api.request("POST", "/me/views", key, json={"name": name, "shown": shown, "days": 7})
        assert told.status_code == 201
    assert kept(api, key) == [("a", "failed"), ("mine", "review")]
    path = f"/me/views/{told.json()['view_id']}"
    other = api.key(Role.ADMIN)
    assert kept(api, other) == []
    assert api.request("DELETE", path, other).json()["code"] == "unknown_view"
    assert api.request("DELETE", path, key).status_code == 204
    assert kept(api, key) == [("a", "failed")]


def test_there_is_an_end_to_what_is_kept_and_nothing_searched_is(api):
    key = api.key(Role.VIEWER)
    for number in range(MOST_VIEWS):
        api.request("POST", "/me/views", key, json={"name": f"view {number}"})
    assert api.request("POST", "/me/views", key, json={"name": "one more"}).json()["code"] == "too_many_views"
    assert api.request("POST", "/me/views", key, json={"name": "view 1", "days": 1}).status_code == 201
    assert api.request("POST", "/me/views", key, json={"name": "view 1", "q": "P-77"}).status_code == 422
    assert api.request("POST", "/me/views", key, json={"name": "  "}).status_code == 422
