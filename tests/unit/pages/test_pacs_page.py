"""The page of the PACS: why there is no run, what could not be delivered, peers, and what the rules would do."""

import re

import pytest

from med3d_pages.rules_view import TypedSeries, try_rules
from med3d_pages.texts import catalogue
from med3d_service.network.peers import Peers
from med3d_service.network.peers.checked import PeerChecks
from med3d_service.network.peers.checking import Finding
from med3d_service.storage.tables import DeliveryRow
from med3d_service.studies.arrivals.routing import RoutingRules, Rule
from med3d_service.trust.access import Role

RULES = RoutingRules(
    (Rule(name="no legs", action="ignore", body_part=("LEG",)), Rule(name="heads", description=("*mprage*",)))
)


@pytest.fixture
def away(api):
    """A peer that does not answer, for a while."""
    peer = {"host": "pacs.example.org", "port": 104, "ae_title": "AWAY"}
    peers = api.service.peers
    peers.dimse["away"] = Peers.model_validate({"dimse": {"away": peer}}).dimse["away"]
    kept = api.app.state.peer_checks
    said = [Finding("dimse:away", "association", "does not answer at pacs.example.org, port 104")]
    api.app.state.peer_checks = PeerChecks(peers, check=lambda _peers, name: said)
    yield
    api.app.state.peer_checks = kept
    del peers.dimse["away"]


def test_what_could_not_be_delivered_is_sent_again_by_an_operator(browser, api):
    browser.sign_in()
    page = browser.get("/ui/pacs").text
    assert "webhook:his" in page
    assert "A-1" not in page, "an accession number"
    action = re.search(r'action="(/ui/pacs/deliveries/[^"]+/retry)"', page)[1]
    assert browser.post(action, {}, page="/ui/pacs").headers["location"] == "/ui/pacs#deliveries"
    with api.service.database.read() as session:
        assert {row.status for row in session.query(DeliveryRow)} == {"waiting"}
    viewer = type(browser)(api)
    viewer.sign_in(Role.VIEWER)
    assert "/retry" not in viewer.get("/ui/pacs").text
    assert viewer.post(action, {}, page="/ui/account").status_code == 403


def test_a_peer_is_tried_and_what_was_found_stands_beside_it(browser, api, away):
    browser.sign_in()
    assert "not tried since" in browser.get("/ui/pacs").text
    assert browser.post("/ui/pacs/peers", {"peer": "away"}, page="/ui/pacs").status_code == 303
    assert "does not answer at pacs.example.org, port 104" in browser.get("/ui/pacs").text
    listed = api.request("GET", "/peers", api.key(Role.VIEWER)).json()["items"]
    assert (listed[0]["name"], listed[0]["last_check"]["ok"]) == ("away", False)
    assert browser.post("/ui/pacs/peers", {"peer": "nobody"}, page="/ui/pacs").status_code == 422


def test_a_study_is_fetched_by_its_accession_number_with_the_clinical_grant_alone(browser, api, away):
    asked = {"peer": "dimse:away", "by": "accession", "wanted": "A-2026-0042"}
    browser.sign_in(clinical=True)
    typed = browser.post("/ui/pacs/pulls", asked | {"wanted": "A-*"}, page="/ui/pacs")
    assert (typed.status_code, 'value="A-*"' in typed.text) == (422, True)
    assert "exactly one study is meant" in typed.text
    assert browser.post("/ui/pacs/pulls", asked, page="/ui/pacs").headers["location"] == "/ui/pacs#pulls"
    page = browser.get("/ui/pacs").text
    assert ">waits</td>" in page.replace("\n", "")
    assert "A-2026-0042" not in page, "what was asked for identifies a patient"
    pull, *_ = api.request("GET", "/pulls", api.key(Role.VIEWER)).json()["items"]
    assert (pull["peer"], pull["origin"]) == ("away", "request")
    submitter, viewer = type(browser)(api), type(browser)(api)
    submitter.sign_in(Role.SUBMITTER)
    assert 'value="accession"' not in submitter.get("/ui/pacs").text
    assert submitter.post("/ui/pacs/pulls", asked, page="/ui/pacs").status_code == 403
    by_uid = asked | {"by": "study_uid", "wanted": "1.2.3"}
    assert submitter.post("/ui/pacs/pulls", by_uid, page="/ui/pacs").status_code == 303
    viewer.sign_in(Role.VIEWER)
    assert "/ui/pacs/pulls" not in viewer.get("/ui/pacs").text
    assert viewer.post("/ui/pacs/pulls", by_uid, page="/ui/account").status_code == 403


def test_the_last_look_at_a_peer_is_remembered():
    checks = PeerChecks(Peers(), clock=lambda: 5.0)
    assert checks.last() == {}
    assert checks.look_at("nobody").findings == ()
    assert checks.last()["nobody"].at == 5.0


@pytest.mark.parametrize(
    ("typed", "runs", "said"),
    [(("MR", "t1 MPRAGE sag", "HEAD", "", ""), True, "“heads”"), (("MR", "", "LEG", "", "40"), False, "ignores it"),
     (("MR", "flair", "HEAD", "", ""), False, "no rule fits"), (("MR", "", "", "", "x"), True, "description")],
)  # fmt: skip
def test_the_rules_say_what_would_happen_to_a_series(typed, runs, said):
    found = try_rules(RULES, TypedSeries(*typed), catalogue("en"))
    assert (found.runs, said in found.sentence) == (runs, True), found.sentence


def test_the_page_tries_the_rules_of_the_settings(browser):
    browser.sign_in(Role.VIEWER)
    assert "every MR image" in browser.get("/ui/pacs?description=t1").text
    assert "no rule fits" in browser.get("/ui/pacs?modality=CT&description=<b>").text
