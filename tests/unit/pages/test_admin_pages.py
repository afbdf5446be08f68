"""Administration: keys that may no more than their maker, sessions ended, the trail searched and proven, settings."""

import re

import pytest
from sqlalchemy import update

from med3d_service.trust.access import Grant, Role
from med3d_service.trust.access.api_keys import person_key
from med3d_service.trust.audit.tables import AuditRow

SHOWN = re.compile(r'name="shown" value="(\w+)"')
NEW_KEY = re.compile(r"<code class=\"command\">(m3d_\w+)</code>|(m3d_[\w-]+)")


def made(api, key, **wanted):
    return api.request("POST", "/keys", key, json={"role": "viewer"} | wanted)


def test_a_key_is_of_a_site_that_was_named(browser):
    browser.sign_in(Role.ADMIN)
    form = {"role": "submitter", "name": "ward", "site": "", "shown": SHOWN.search(browser.get("/ui/admin").text)[1]}
    page = browser.post("/ui/admin/keys", form, page="/ui/admin")
    assert page.status_code == 422
    assert "name a site" in page.text
    assert not re.search(r"m3d_[\w-]+", page.text)


def test_a_key_is_made_on_a_page_shown_once_and_revoked(browser, api):
    browser.sign_in(Role.ADMIN)
    form = {
        "role": "submitter",
        "name": "ward <b>",
        "site": "*",
        "shown": SHOWN.search(browser.get("/ui/admin").text)[1],
    }
    page = browser.post("/ui/admin/keys", form, page="/ui/admin")
    key = re.search(r"m3d_[\w-]+", page.text)[0]
    assert "no-store" in page.headers["cache-control"]
    assert api.request("GET", "/me", key).json()["role"] == "submitter"
    assert browser.post("/ui/admin/keys", form, page="/ui/admin").status_code == 303, "a reload makes no other key"
    again = browser.get("/ui/admin").text
    assert again.count("ward &lt;b&gt;") == 1
    assert key not in again
    assert "ward &lt;b&gt;" in again
    prefix = key.split("_")[1]
    assert browser.post("/ui/admin/keys/revoke", {"prefix": prefix}, page="/ui/admin").status_code == 303
    assert api.request("GET", "/me", key).status_code == 401
    found = browser.get(f"/ui/admin/audit?about={prefix}&what=secure").text
    assert found.count("secure</td>") == 2


def test_a_key_may_look_and_no_more_where_nobody_chooses(browser):
    browser.sign_in(Role.ADMIN)
    assert '<option value="viewer" selected>' in browser.get("/ui/admin").text


def test_a_key_is_replaced_by_one_that_may_the_same_and_goes_on_for_a_day(browser, api):
    before = api.key(Role.SUBMITTER, site="ward")
    prefix = before.split("_")[1]
    browser.sign_in(Role.ADMIN)
    form = {"prefix": prefix, "shown": SHOWN.search(browser.get("/ui/admin").text)[1]}
    page = browser.post("/ui/admin/keys/rotate", form, page="/ui/admin").text
    assert browser.post("/ui/admin/keys/rotate", form, page="/ui/admin").status_code == 303
    after = re.search(r"m3d_[\w-]+", page)[0]
    told = [api.request("GET", "/me", key).json() for key in (before, after)]
    assert [(one["role"], one["site"]) for one in told] == [("submitter", "ward")] * 2
    admin = api.key(Role.ADMIN)
    hours = {"overlap_hours": 0}
    replaced = api.request("POST", f"/keys/{after.split('_')[1]}/rotate", admin, json=hours).json()["key"]
    assert [api.request("GET", "/me", key).status_code for key in (after, replaced)] == [401, 200]


def test_no_key_is_replaced_by_who_could_not_make_it(api):
    clinical, of_all = api.key(Role.VIEWER, clinical=True).split("_")[1], api.key(Role.VIEWER).split("_")[1]
    plain, of_a_site = api.key(Role.ADMIN), api.key(Role.ADMIN, clinical=True, site="ward")
    for prefix, key, code in ((clinical, plain, "wrong_scope"), (of_all, of_a_site, "unknown_key")):
        assert api.request("POST", f"/keys/{prefix}/rotate", key, json={}).json()["code"] == code
    with api.service.database.write() as session:
        person = person_key(session, "https://id.example.org", "jane", "Jane", Grant(Role.VIEWER, False, "*")).prefix
    assert api.request("POST", f"/keys/{person}/rotate", plain, json={}).json()["code"] == "unknown_key"


def test_a_key_may_no_more_than_its_maker(api):
    plain, of_a_site = api.key(Role.ADMIN), api.key(Role.ADMIN, clinical=True, site="ward")
    assert made(api, plain, clinical=True).status_code == 403
    assert made(api, of_a_site).status_code == 403, "of all sites"
    assert made(api, of_a_site, site="elsewhere").status_code == 403
    assert made(api, of_a_site, site="ward", clinical=True).status_code == 201
    assert made(api, plain, role="worker", site="ward").status_code == 422
    listed = api.request("GET", "/keys", of_a_site).json()["items"]
    assert {one["site"] for one in listed} == {"ward"}
    other = next(one for one in api.request("GET", "/keys", plain).json()["items"] if one["site"] == "*")
    assert api.request("DELETE", f"/keys/{other['prefix']}", of_a_site).status_code == 404
    for path in ("/audit", "/settings"):
        assert api.request("GET", path, of_a_site).status_code == 403


def test_somebody_else_is_signed_out(browser, api):
    browser.sign_in(Role.ADMIN)
    other = type(browser)(api)
    prefix = other.sign_in(Role.VIEWER).split("_")[1]
    page = browser.get("/ui/admin").text
    session = next(one for one in re.findall(r'name="session" value="(\w+)"', page) if f"{prefix}.{one[:6]}" in page)
    assert browser.post("/ui/admin/sessions/end", {"session": session}, page="/ui/admin").status_code == 303
    assert other.get("/ui/today").status_code == 303
    assert browser.post("/ui/admin/sessions/end", {"session": session}, page="/ui/admin").status_code == 404


def test_the_trail_is_searched_page_by_page_and_proven(browser, api):
    prefix = browser.sign_in(Role.ADMIN).split("_")[1]
    for _ in range(3):
        browser.get("/ui/worklist")
    found = browser.get(f"/ui/admin/audit?who={prefix}").text
    assert f"session:{prefix}." in found
    first = api.request("GET", "/audit?limit=2", api.key(Role.ADMIN)).json()
    second = api.request("GET", f"/audit?limit=2&cursor={first['next_cursor']}", api.key(Role.ADMIN)).json()
    numbers = [one["seq"] for one in first["items"] + second["items"]]
    assert numbers == sorted(numbers, reverse=True)
    assert "all as they were written" in browser.post("/ui/admin/audit", {}, page="/ui/admin").text
    with api.service.database.write_rows() as connection:
        connection.execute(update(AuditRow).where(AuditRow.seq == 2).values(actor="nobody"))
    broken = browser.post("/ui/admin/audit", {}, page="/ui/admin").text
    assert "tampered with" in broken


def test_settings_are_shown_without_their_secrets(browser, api):
    browser.sign_in(Role.ADMIN)
    assert "MED3D_FAILED_KEYS_PER_MINUTE" in browser.get("/ui/admin").text
    items = api.request("GET", "/settings", api.key(Role.ADMIN)).json()["items"]
    assert next(one["value"] for one in items if one["name"] == "database_url") in {None, ""}


@pytest.mark.parametrize("path", ["/ui/admin", "/ui/admin/audit"])
def test_who_is_no_administrator_sees_nothing_of_it(browser, path):
    browser.sign_in(Role.OPERATOR)
    assert browser.get(path).status_code == 403
    assert 'href="/ui/admin"' not in browser.get("/ui/today").text
