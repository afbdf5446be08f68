"""Signing in at the hospital's provider: who comes back from there, to this browser, once, and nobody else."""

import json
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from med3d_service.problems import ServiceError
from med3d_service.trust.access import Role
from med3d_service.trust.access.callers import Gate
from med3d_service.trust.access.openid import OpenIdSignIn
from med3d_service.trust.access.tokens import TokenVerifier
from med3d_service.trust.audit.trail import entries
from rig.peers.openid_provider import CLIENT, SECRET, OpenIdProvider
from rig.service.api import open_api

BACK = "http://med3d/ui/openid/back"
ISSUER = "https://login.example.org"
TOLD = {
    "oidc_issuer": ISSUER,
    "oidc_audience": "med3d",
    "oidc_client_id": CLIENT,
    "oidc_client_secret": SECRET,
    "failed_keys_per_minute": 10_000,
}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = open_api(tmp_path_factory.mktemp("data"), **TOLD)
    yield made
    made.close()


@pytest.fixture
def provider(api):
    made = OpenIdProvider(ISSUER, {BACK})
    tokens = TokenVerifier(api.settings, made, audience=CLIENT)
    openid = OpenIdSignIn(api.settings, tokens, made.transport)
    api.app.state.gate = Gate(api.service.database, api.settings, openid=openid)
    return made


def leave(browser, to="/ui/account"):
    """Where the browser is sent to."""
    gone = browser.get(f"/ui/openid?to={quote(to)}")
    assert gone.status_code == 303
    return gone.headers["location"]


def come_back(browser, address):
    return browser.get(address.removeprefix("http://med3d"))


def signed_in(browser, provider, to="/ui/account"):
    return come_back(browser, provider.visit(leave(browser, to)))


def said_last(api):
    with api.service.database.read() as session:
        row = list(entries(session))[-1]
    return row.actor_kind, row.action, row.outcome, json.loads(row.detail)


def who(browser):
    return {name: browser.get("/me").json().get(name) for name in ("role", "clinical", "site", "code")}


def test_a_person_signs_in_with_what_the_provider_grants_and_it_is_in_the_trail(api, browser, provider):
    form = browser.get("/ui/sign-in?to=/ui/account").text
    assert 'href="/ui/openid?to=/ui/account"' in form
    provider.person["roles"] = ["submitter", "clinical"]
    answer = signed_in(browser, provider)
    assert (answer.status_code, "url=/ui/account" in answer.text) == (200, True)
    assert said_last(api)[0::3] == ("session", {"what": "signed_in_by_openid"})
    assert who(browser) == {"role": "submitter", "clinical": True, "site": "default", "code": None}
    assert [one["client_secret"] for one in provider.redeemed] == [SECRET]


def test_the_attempt_leaves_nothing_that_opens_anything(browser, provider):
    asked = parse_qs(urlsplit(leave(browser)).query)
    secret = browser.cookies["med3d_attempt"].split(".")[0]
    sent = [value for values in asked.values() for value in values]
    assert not any(secret in value for value in sent)
    assert len(set(sent)) == len(sent)
    assert browser.get("/ui/account").status_code == 303


def test_the_cookie_goes_to_the_way_back_alone_and_is_spent_there(browser, provider):
    gone = browser.get("/ui/openid")
    cookie = next(line for line in gone.headers.get_list("set-cookie") if line.startswith("med3d_attempt"))
    for part in ("HttpOnly", "SameSite=lax", "Path=/ui/openid", "Max-Age=600"):
        assert part in cookie
    come_back(browser, provider.visit(gone.headers["location"]))
    assert "med3d_attempt" not in browser.cookies


def test_an_answer_works_once(browser, provider):
    address, kept = provider.visit(leave(browser)), dict(browser.cookies)
    assert come_back(browser, address).status_code == 200
    again = come_back(browser, address)
    assert (again.status_code, "did not come to an end" in again.text) == (401, True)
    browser.cookies = kept
    assert come_back(browser, address).status_code == 401, "the provider takes a code once"


def test_an_answer_to_another_browser_signs_nobody_in(api, browser, provider):
    address = provider.visit(leave(browser))
    victim = type(browser)(api)
    assert come_back(victim, address).status_code == 401
    leave(victim)
    assert come_back(victim, address).status_code == 401
    assert not provider.redeemed, "a code that came astray is not even shown to the provider"
    assert said_last(api)[1:3] == ("enter", "denied")


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "x"},
        {"state": "\xe9"},
        {"code": ""},
        {"iss": "https://evil.example"},
        {"error": "access_denied", "code": ""},
    ],
    ids=str,
)
def test_an_answer_that_is_not_the_provider_s_is_refused(browser, provider, wrong):
    address = provider.visit(leave(browser))
    told = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()} | wrong
    query = "&".join(f"{name}={quote(value)}" for name, value in told.items())
    assert browser.get(f"/ui/openid/back?{query}").status_code == 401
    assert browser.get("/ui/account").status_code == 303


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"nonce": "of another attempt"}, 401),
        ({"nonce": None}, 401),
        ({"aud": "another-client"}, 401),
        ({"aud": [CLIENT, "another-client"], "azp": "another-client"}, 401),
        ({"iss": "https://evil.example"}, 401),
        ({"exp": 1}, 401),
        ({"roles": []}, 403),
        ({"roles": ["worker"]}, 403),
    ],
    ids=str,
)
def test_a_token_for_another_attempt_client_or_person_opens_nothing(browser, provider, said, status):
    provider.said = said
    assert signed_in(browser, provider).status_code == status
    assert browser.get("/ui/account").status_code == 303


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example/ui", "/ui\\evil", "javascript:alert(1)", "/uix"]
)
def test_no_address_leads_elsewhere(browser, provider, to):
    assert 'url=/ui"' in signed_in(browser, provider, to).text
    leave(browser)
    secret = browser.cookies["med3d_attempt"].split(".")[0]
    address = provider.visit(leave(browser))
    browser.cookies["med3d_attempt"] = f"{browser.cookies['med3d_attempt'].split('.')[0]}.{quote(to, safe='')}"
    assert secret
    assert 'url=/ui"' in come_back(browser, address).text


def test_sessions_end_by_signing_out_and_what_a_person_might_before_ends_when_it_changes(api, browser, provider):
    signed_in(browser, provider)
    other = type(browser)(api)
    signed_in(other, provider)
    assert browser.post("/ui/sign-out", {}, page="/ui/account").status_code == 303
    assert browser.get("/ui/account").status_code == 303
    assert other.get("/ui/account").status_code == 200
    provider.person["roles"] = ["viewer"]
    signed_in(browser, provider)
    assert who(browser)["role"] == "viewer"
    assert other.get("/me").json()["code"] == "session_over", "what was granted before is no more"
    stranger = type(browser)(api)
    provider.person = {"sub": "u-18", "roles": ["operator"]}
    signed_in(stranger, provider)
    assert who(browser)["role"] == "viewer"
    browser.post("/ui/sign-out", {"everywhere": "1"}, page="/ui/account")
    assert stranger.get("/ui/account").status_code == 200


def test_a_person_whose_key_is_revoked_is_shut_out(api, browser, provider):
    provider.person = {"sub": "u-19", "roles": ["viewer"]}
    signed_in(browser, provider)
    prefix = browser.get("/me").json()["name"].split(".")[0]
    assert prefix.startswith("p")
    assert api.request("DELETE", f"/keys/{prefix}", api.key(Role.ADMIN)).status_code == 204
    assert browser.get("/ui/account").status_code == 303
    assert signed_in(browser, provider).status_code == 401


def test_a_provider_that_is_away_is_told(browser, provider):
    address = provider.visit(leave(browser))
    provider.away = True
    back = come_back(browser, address)
    assert (back.status_code, "does not answer now" in back.text) == (503, True)


def test_a_look_ahead_at_the_way_back_spends_nothing(api, browser, provider):
    address = provider.visit(leave(browser))
    api.request("HEAD", address.removeprefix("http://med3d"), headers=browser._headers({}))
    assert come_back(browser, address).status_code == 200


def test_endpoints_in_the_clear_are_not_used(api):
    provider = OpenIdProvider(ISSUER)
    honest = provider.answer
    provider.answer = lambda *asked: (200, honest(*asked)[1] | {"token_endpoint": "http://login.example.org/token"})
    openid = OpenIdSignIn(api.settings, TokenVerifier(api.settings, provider, audience=CLIENT), provider.transport)
    with pytest.raises(Exception, match="unavailable"):
        openid.depart(BACK)


def test_brackets_without_end_from_the_provider_are_no_answer(api):
    answers = httpx.MockTransport(lambda _request: httpx.Response(200, content=b"[" * 100_000))
    openid = OpenIdSignIn(api.settings, TokenVerifier(api.settings, OpenIdProvider(ISSUER), audience=CLIENT), answers)
    with pytest.raises(ServiceError, match="unavailable"):
        openid.depart(BACK)


def test_without_a_client_there_is_no_such_way(api, browser, provider):
    api.app.state.gate.openid = None
    assert "/ui/openid" not in browser.get("/ui/sign-in").text
    assert browser.get("/ui/openid").status_code == 404
    assert browser.get("/ui/openid/back?code=x&state=y").status_code == 404
