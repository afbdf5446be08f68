"""Sessions: how they begin, what they may, how they end, and what other sites cannot do with them."""

import json
import re
from urllib.parse import quote

import pytest
from sqlalchemy import update

from med3d_service.trust.access import Role
from med3d_service.trust.access.api_keys import revoke_key
from med3d_service.trust.access.session_tables import SessionRow, SignInLinkRow
from med3d_service.trust.audit.trail import entries

TOKEN = 'name="token" value="([^"]+)"'


def said_last(api):
    with api.service.database.read() as session:
        row = list(entries(session))[-1]
    return row.actor_kind, row.action, row.outcome, json.loads(row.detail)


def changed(api, table, **values):
    with api.service.database.write() as session:
        session.execute(update(table).values(**values))


def test_who_is_not_signed_in_is_asked_to_and_led_back(browser):
    assert browser.get("/").headers["location"] == "/ui"
    asked = browser.get("/ui/worklist?show=review")
    assert (asked.status_code, asked.headers["location"]) == (303, "/ui/sign-in?to=%2Fui%2Fworklist%3Fshow%3Dreview")
    assert 'value="/ui/worklist?show=review"' in browser.get(asked.headers["location"]).text


def test_a_link_opens_one_session_once(api, browser):
    key = api.key(Role.VIEWER)
    link = api.request("POST", "/sign-in-links", key)
    assert link.status_code == 201
    path = link.json()["path"]
    entered = browser.get(f"{path}&to=/ui/account")
    assert "url=/ui/account" in entered.text
    assert said_last(api)[0::3] == ("session", {"what": "signed_in_by_link"})
    cookie = next(line for line in entered.headers.get_list("set-cookie") if line.startswith("med3d_session"))
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert browser.get("/ui/account").status_code == 200
    again = type(browser)(api).get(path)
    assert (again.status_code, "used before" in again.text) == (401, True)
    assert said_last(api)[1:] == ("enter", "denied", {"route": "/ui/enter", "status": 401})


def test_the_database_holds_no_secret_of_a_session(api, browser):
    browser.sign_in()
    secret = next(value for name, value in browser.cookies.items() if "session" in name).split(".")[1]
    with api.service.database.read() as session:
        kept = [row.secret_sha256 for row in session.query(SessionRow)]
    assert secret not in kept
    assert len(secret) > 40


def test_a_link_is_void_after_its_hour(api, browser):
    path = api.request("POST", "/sign-in-links", api.key(Role.VIEWER)).json()["path"]
    changed(api, SignInLinkRow, expires_at=1.0)
    assert browser.get(path).status_code == 401


def test_a_key_signs_in_by_the_form_and_never_by_the_address(api, browser):
    key = api.key(Role.OPERATOR)
    assert browser.get(f"/ui/worklist?key={key}").status_code == 303
    done = browser.post("/ui/sign-in", {"key": key, "to": "//evil.example/"}, page="/ui/sign-in")
    assert 'url=/ui"' in done.text
    assert browser.get("/me").json() | {"name": ""} == {
        "kind": "session", "name": "", "role": "operator", "clinical": False, "site": "default", "every_site": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "to", ["//[", "http://[::1", "//\u2100.example", "/uix", "/ui\\evil", "javascript:alert(1)", "/ui/" * 200]
)
def test_no_address_leads_elsewhere_or_breaks_the_way_in(api, browser, to):
    asked = browser.get(f"/ui/sign-in?to={quote(to[:500])}")
    assert (asked.status_code, 'name="to" value="/ui' in asked.text) == (200, True)
    done = browser.post("/ui/sign-in", {"key": api.key(Role.VIEWER), "to": to}, page="/ui/sign-in")
    assert (done.status_code, 'url=/ui"' in done.text) == (200, True)


def test_a_second_tab_signs_in_too_and_a_form_that_is_too_old_is_asked_for_again(api, browser):
    key = api.key(Role.VIEWER)
    first, second = (re.search(TOKEN, browser.get("/ui/sign-in").text)[1] for _ in range(2))
    assert browser.post("/ui/sign-in", {"key": key}, token=first).status_code == 200
    assert browser.post("/ui/sign-in", {"key": key}, token=second).status_code == 200
    old = browser.post("/ui/sign-in", {"key": key, "to": "/ui/account"}, token="0" * 64)
    assert (old.status_code, "too old" in old.text, 'value="/ui/account"' in old.text) == (403, True, True)


@pytest.mark.parametrize(
    "sent",
    [{"token": "\xe9"}, {"origin": "http://["}, {"origin": "null"}, {"x_csrf_token": "\xe9"}, {"page": "/ui/account"}],
)
def test_what_no_browser_sends_is_refused_and_breaks_nothing(api, browser, sent):
    browser.sign_in()
    headers = {name: text.encode("latin-1") for name, text in sent.items() if name in {"origin", "x_csrf_token"}}
    token = sent.get("token", "0" * 64)
    for path in (
        "/ui/sign-out",
        "/ui/sign-in",
        f"/ui/runs/{api.ids['run_id']}/verdicts",
        f"/ui/upload?form={quote(token)}",
    ):
        assert browser.post(path, {"key": "x"}, token=token, **headers).status_code == 403, path


def test_pages_say_whose_text_they_may_give_back(browser):
    prefix = browser.sign_in(Role.SUBMITTER).split("_")[1]
    page = browser.get("/ui/account").text
    assert f'data-person="{prefix}"' in page
    assert "/typed.js" in page


def test_who_sends_a_form_when_the_session_is_over_is_led_back_to_its_page_and_told(api, browser):
    browser.sign_in(Role.SUBMITTER)
    changed(api, SessionRow, ended_at=1.0)
    page = f"/ui/runs/{api.ids['run_id']}"
    asked = browser.post(
        f"{page}/verdicts", {"verdict": "accepted", "why": "J-Roe"}, token="x", referer=f"http://med3d{page}"
    )
    assert asked.status_code == 303
    form = browser.get(asked.headers["location"]).text
    assert "J-Roe" not in f"{asked.headers} {asked.text} {form}", "what was typed is the tab's alone to keep"
    assert "data-person" not in form
    assert "/typed.js" in form
    assert f'name="to" value="{page}"' in form
    assert "was not taken" in form
    elsewhere = browser.post(f"{page}/verdicts", {}, token="x", referer="http://evil.example/ui/x")
    assert "to=%2Fui&" in elsewhere.headers["location"]


def test_a_form_of_an_earlier_session_leads_back_to_its_page_and_leaves_the_text_to_the_tab(api, browser):
    browser.sign_in(Role.SUBMITTER)
    page = f"/ui/runs/{api.ids['run_id']}"
    token = re.search(TOKEN, browser.get(page).text)[1]
    browser.sign_in(Role.SUBMITTER)
    old = browser.post(f"{page}/verdicts", {"verdict": "accepted"}, token=token, referer=f"http://med3d{page}")
    assert (old.status_code, f'href="{page}"' in old.text) == (403, True)
    assert 'id="typed-kept"' in old.text
    assert "data-person" not in old.text, "else the script would throw the text away"
    forged = {"sec_fetch_site": "cross-site", "referer": "http://evil.example/ui/x"}
    strange = browser.post(f"{page}/verdicts", {"verdict": "accepted"}, token="x", **forged)
    assert (strange.status_code, "typed-kept" in strange.text, "evil" in strange.text) == (403, False, False)


@pytest.mark.parametrize("key", ["", "m3d_00000000_guess", "<script>alert(1)</script>"])
def test_a_key_that_opens_nothing_is_told_and_is_in_the_trail(api, browser, key):
    said = browser.post("/ui/sign-in", {"key": key}, page="/ui/sign-in")
    assert (said.status_code, "unknown, expired or revoked" in said.text) == (401, True)
    assert "<script>alert" not in said.text
    assert said_last(api)[1:] == ("enter", "denied", {"route": "/ui/sign-in", "status": 401})


@pytest.mark.parametrize("role", [Role.WORKER, Role.METRICS])
def test_a_key_that_is_no_person_s_opens_no_pages(api, browser, role):
    said = browser.post("/ui/sign-in", {"key": api.key(role)}, page="/ui/sign-in")
    assert (said.status_code, "key of a person" in said.text) == (403, True)


def test_a_form_that_does_not_come_from_our_page_signs_nobody_in(api, browser):
    key = api.key(Role.VIEWER)
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert browser.post("/ui/sign-in", {"key": key}, page="/ui/sign-in", **headers).status_code == 403
    assert browser.post("/ui/sign-in", {"key": key}, token="guess").status_code == 403
    assert type(browser)(api).post("/ui/sign-in", {"key": key}, token="").status_code == 403


def test_a_session_ends_when_it_is_signed_out_and_all_of_its_key_at_once(api, browser):
    key = browser.sign_in()
    other = type(browser)(api)
    other.get(api.request("POST", "/sign-in-links", key).json()["path"])
    stolen = dict(browser.cookies)
    assert browser.post("/ui/sign-out", {}, page="/ui/account").status_code == 303
    assert not any("session" in name for name in browser.cookies)
    browser.cookies = stolen
    assert browser.get("/ui/account").status_code == 303, "the cookie that was kept opens nothing"
    assert other.get("/ui/account").status_code == 200
    third = type(browser)(api)
    third.get(api.request("POST", "/sign-in-links", key).json()["path"])
    third.post("/ui/sign-out", {"everywhere": "1"}, page="/ui/account")
    assert said_last(api)[3] == {"what": "signed_out_everywhere"}
    assert other.get("/ui/account").status_code == 303


@pytest.mark.parametrize("past", ["used_at", "expires_at"])
def test_a_session_ends_by_itself(api, browser, past):
    browser.sign_in()
    changed(api, SessionRow, **{past: 1.0})
    asked = browser.get("/ui/worklist")
    assert asked.headers["location"] == "/ui/sign-in?to=%2Fui%2Fworklist&over=1"
    assert "signed out" in browser.get(asked.headers["location"]).text


def test_a_session_ends_with_its_key(api, browser):
    key = browser.sign_in()
    with api.service.database.write() as session:
        revoke_key(session, key.split("_")[1])
    assert browser.get("/ui/account").status_code == 303
    assert browser.get("/me").json()["code"] == "session_over"


def test_a_session_reads_the_api_and_changes_it_only_from_our_pages(api, browser):
    browser.sign_in(Role.SUBMITTER)
    run, study = (api.ids[name] for name in ("run_id", "study_id"))
    assert browser.get(f"/runs/{run}").status_code == 200
    asked = browser.api.request
    headers = browser._headers({})
    assert asked("POST", f"/studies/{study}/runs", json={}, headers=headers).json()["code"] == "not_from_our_page"
    token = browser.get("/ui/account").text.split('name="token" value="')[1].split('"')[0]
    guessed = headers | {"X-CSRF-Token": "0" * 64}
    assert asked("POST", f"/studies/{study}/runs", json={}, headers=guessed).status_code == 403
    own = headers | {"X-CSRF-Token": token}
    elsewhere = own | {"Sec-Fetch-Site": "same-site"}
    assert asked("POST", f"/studies/{study}/runs", json={}, headers=elsewhere).status_code == 403
    assert asked("POST", f"/studies/{study}/runs", json={}, headers=own).status_code in {200, 202}


def test_links_are_made_with_keys_alone(api, browser):
    browser.sign_in()
    token = browser.get("/ui/account").text.split('name="token" value="')[1].split('"')[0]
    answer = api.request("POST", "/sign-in-links", headers=browser._headers({"X-CSRF-Token": token}))
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_scope")


def test_a_page_that_keeps_itself_up_to_date_keeps_no_session_open(api, browser):
    browser.sign_in()
    with api.service.database.read() as session:
        now = max(row.used_at for row in session.query(SessionRow))
    changed(api, SessionRow, used_at=now - 1800)
    assert browser.get("/ui/today", x_by_itself="1").status_code == 200
    with api.service.database.read() as session:
        assert max(row.used_at for row in session.query(SessionRow)) == now - 1800
    assert browser.get("/ui/today").status_code == 200
    with api.service.database.read() as session:
        assert max(row.used_at for row in session.query(SessionRow)) >= now
