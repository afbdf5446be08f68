"""Verdicts of people: given on a page or by the API, never overwritten, shown wherever the run is."""

import json
import re

import pytest
from sqlalchemy import select, update

from med3d_service.custody.erasure.rows import delete_rows
from med3d_service.custody.ledger.tables import LedgerCheckRow
from med3d_service.custody.safekeeping import read_safekeeping
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import RunRow, VerdictRow
from med3d_service.trust.access import Role
from med3d_service.trust.audit.events import Action, AuditEvent, command_line
from med3d_service.trust.audit.trail import entries
from rig.service.answers_of_pages import answered
from rig.service.parts import add_run

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def run_id(api):
    return answered(api)


def given(api, run_id, key, **verdict):
    return api.request("POST", f"/runs/{run_id}/verdicts", key, json=verdict)


def test_a_later_verdict_stands_in_place_of_an_earlier_one_and_both_are_kept(api, run_id):
    key = api.key(Role.SUBMITTER)
    assert api.request("GET", f"/runs/{run_id}", key).json()["verdict"] is None
    first = given(api, run_id, key, verdict="accepted", reader="Dr. A").json()
    second = given(api, run_id, key, verdict="rejected", why="It moved.", reader="Dr. B").json()
    given(api, run_id, key, verdict="comment", why="Seen at the conference.")
    assert api.request("GET", f"/runs/{run_id}", key).json()["verdict"] == second
    listed = api.request("GET", f"/runs/{run_id}/verdicts", key).json()["items"]
    assert [one["verdict"] for one in listed] == ["comment", "rejected", "accepted"]
    assert listed[2] == first
    in_list = api.request("GET", "/runs", key).json()["items"]
    assert next(run for run in in_list if run["run_id"] == run_id)["verdict"] == second


def test_who_gave_it_is_in_the_trail_with_what_it_was(api, run_id):
    key = api.key(Role.SUBMITTER)
    given(api, run_id, key, verdict="rejected", why="Jane Doe moved.")
    with api.service.database.read() as session:
        entry = list(entries(session))[-1]
        (row,) = session.scalars(select(VerdictRow).where(VerdictRow.run_id == run_id))
    assert (entry.actor, entry.action, entry.object_id) == (key.split("_")[1], "change", run_id)
    detail = json.loads(entry.detail)
    assert (detail["verdict"], len(detail["sha256"])) == ("rejected", 64)
    assert "Jane" not in entry.detail
    assert b"Jane" not in row.why, "people write names into what they type"


@pytest.mark.parametrize("verdict", ["rejected", "rescan", "comment"])
def test_what_is_not_accepted_says_why(api, run_id, verdict):
    answer = given(api, run_id, api.key(Role.SUBMITTER), verdict=verdict, why="  ")
    assert (answer.status_code, answer.json()["code"]) == (422, "verdict_without_why")


def test_a_run_without_an_answer_takes_no_verdict(api):
    waiting = add_run(api.service.database)
    answer = given(api, waiting, api.key(Role.SUBMITTER), verdict="accepted")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_answered")


def test_verdicts_go_with_their_study(api, run_id):
    given(api, run_id, api.key(Role.SUBMITTER), verdict="accepted")
    with api.service.database.write() as session:
        study_id = session.scalars(select(RunRow.study_id).where(RunRow.id == run_id)).one()
        delete_rows(session, [study_id])
        assert session.scalars(select(VerdictRow).where(VerdictRow.run_id == run_id)).all() == []


def test_a_verdict_of_the_page_stands_on_it_and_leaves_the_review_queue(api, browser, run_id):
    browser.sign_in(Role.SUBMITTER)
    page = f"/ui/runs/{run_id}"
    assert run_id in browser.get("/ui/review").text
    sent = browser.post(f"{page}/verdicts", {"verdict": "rejected", "why": MARKUP, "reader": "Dr. <b>"}, page=page)
    assert (sent.status_code, sent.headers["location"]) == (303, f"{page}#verdicts")
    shown = browser.get(page).text
    assert "Rejected" in shown
    assert "<img src=x" not in shown
    assert "&lt;img src=x" in shown
    assert "Dr. &lt;b&gt;" in shown
    assert run_id not in browser.get("/ui/review").text
    assert "read: rejected" in browser.get("/ui/worklist?show=review").text


def test_a_verdict_without_a_word_is_asked_for_again(browser, run_id):
    browser.sign_in(Role.SUBMITTER)
    page = f"/ui/runs/{run_id}"
    for fields in ({"verdict": "rejected"}, {"verdict": "nonsense", "why": "x"}, {}):
        again = browser.post(f"{page}/verdicts", fields, page=page)
        assert (again.status_code, "say why unless you accept" in again.text) == (422, True)


def test_a_verdict_comes_from_our_page_and_from_who_may(browser, run_id, api):
    browser.sign_in(Role.SUBMITTER)
    address = f"/ui/runs/{run_id}/verdicts"
    assert browser.post(address, {"verdict": "accepted"}).status_code == 403
    assert browser.post(address, {"verdict": "accepted"}, token="0" * 64).status_code == 403
    viewer = type(browser)(api)
    viewer.sign_in(Role.VIEWER)
    assert "submitter" in viewer.get(f"/ui/runs/{run_id}").text
    assert viewer.post(address, {"verdict": "accepted"}, page="/ui/account").status_code == 403
    assert api.request("GET", f"/runs/{run_id}", api.key(Role.VIEWER)).json()["verdict"] is None


def test_today_says_first_what_needs_somebody(browser, run_id):
    browser.sign_in()
    page = browser.get("/ui/today").text
    assert re.search(r"\d+ answers? waits? for a verdict", page)
    assert "no worker has said hello yet" in page
    assert page.index("Workers:") < page.index("Studies since midnight")


def test_today_says_what_is_kept_and_what_is_in_danger(browser, api):
    browser.sign_in()
    page = browser.get("/ui/today").text
    assert page.count("never yet") == 2
    assert "no images are taken below 536.9\xa0MB" in page
    found = {"answer_missing": 2, "lease_without_work": 1}
    with api.service.database.write() as session:
        counted = {"studies": 1, "runs": 1, "instances": 1}
        session.add(LedgerCheckRow(checked_at=now_of(session), duration_s=0.1, findings=found, **counted))
    api.service.audit.record(AuditEvent(command_line(), Action.BACKUP, object_kind="database"))
    page = browser.get("/ui/today").text
    assert "never yet" not in page
    assert page.index("found 3 discrepancies") < page.index("Studies since midnight")
    full = api.service.settings.model_copy(update={"reserve_bytes": 2**60})
    with api.service.database.read() as session:
        assert [read_safekeeping(session, one).is_full for one in (api.service.settings, full)] == [False, True]


def test_a_failed_run_is_done_again_by_an_operator(browser, api):
    failed = answered(api, ending="failed")
    browser.sign_in()
    page = f"/ui/runs/{failed}"
    assert "the images are kept" in browser.get(page).text
    again = browser.post(f"{page}/again", {}, page=page)
    assert again.status_code == 303
    assert again.headers["location"] != page
    assert "Another run stands for this one" in browser.get(page).text


def test_another_series_is_analysed_by_hand(browser, api):
    refused = api.ids["run_id"]
    browser.sign_in(Role.SUBMITTER)
    address = f"/ui/studies/{api.ids['study_id']}/series"
    sent = browser.post(address, {"series": "series 1"}, page="/ui/account")
    assert sent.status_code == 303
    assert "chosen by hand: series 1" in browser.get(sent.headers["location"]).text
    assert refused not in sent.headers["location"]


def test_a_study_is_sent_by_a_plain_form(browser, api):
    browser.sign_in(Role.SUBMITTER)
    action = re.search(r'action="(/ui/upload\?form=[0-9a-f]+)"', browser.get("/ui/upload").text)[1]
    files = {"files": ("note.txt", b"no image")}
    asked = api.request
    refused = asked("POST", action, data={"age": "44"}, files=files, headers=browser._headers({}))
    assert (refused.status_code, "no_images" in refused.text) == (422, True)
    for other in ("/ui/upload", "/ui/upload?form=0"):
        assert asked("POST", other, files=files, headers=browser._headers({})).status_code == 403


def test_a_verdict_that_was_written_past_the_service_is_nobodys(api, run_id):
    key = api.key(Role.SUBMITTER)
    given(api, run_id, key, verdict="rejected", why="It moved.")
    with api.service.database.write_rows() as connection:
        connection.execute(update(VerdictRow).where(VerdictRow.run_id == run_id).values(verdict="accepted"))
    assert api.request("GET", f"/runs/{run_id}", key).json()["verdict"] is None
    assert api.request("GET", f"/runs/{run_id}/verdicts", key).json()["items"] == []


def test_what_was_typed_is_not_lost_where_something_is_to_be_mended(browser, run_id):
    browser.sign_in(Role.SUBMITTER)
    page = f"/ui/runs/{run_id}"
    again = browser.post(f"{page}/verdicts", {"verdict": "rescan", "reader": 'Dr. "A"'}, page=page).text
    assert 'value="rescan" required checked' in again
    assert 'value="Dr. &#34;A&#34;"' in again
    assert browser.get(f"{page}/verdicts").headers["location"] == f"{page}#verdicts"
    long = browser.post(f"{page}/verdicts", {"verdict": "rejected", "why": "x" * 2001}, page=page)
    assert (long.status_code, "2000 characters" in long.text, "x" * 2001 in long.text) == (422, True, True)


def test_the_end_of_a_line_is_one_character_as_the_browser_counts(api, browser, run_id):
    browser.sign_in(Role.SUBMITTER)
    page = f"/ui/runs/{run_id}"
    why = "\n".join(["seen"] * 400)
    sent = browser.post(f"{page}/verdicts", {"verdict": "rejected", "why": why.replace("\n", "\r\n")}, page=page)
    assert sent.status_code == 303
    assert api.request("GET", f"/runs/{run_id}", api.key(Role.VIEWER)).json()["verdict"]["why"] == why


SEEN = re.compile(r'name="seen" value="([^"]+)"')


def test_a_verdict_on_what_has_changed_since_the_page_was_opened_is_asked_for_again(api, browser, run_id):
    browser.sign_in(Role.SUBMITTER)
    page = f"/ui/runs/{run_id}"
    seen = SEEN.search(browser.get(page).text)[1]
    given(api, run_id, api.key(Role.SUBMITTER), verdict="rejected", why="It moved.")
    late = browser.post(f"{page}/verdicts", {"verdict": "accepted", "why": "Fine.", "seen": seen}, page=page)
    assert (late.status_code, "look again" in late.text, "Fine.</textarea>" in late.text) == (409, True, True)
    assert (
        browser.post(f"{page}/verdicts", {"verdict": "comment", "why": "x", "seen": seen}, page=page).status_code == 303
    )
    now = SEEN.search(late.text)[1]
    with api.service.database.write() as session:
        session.execute(update(RunRow).where(RunRow.id == run_id).values(superseded_by=api.ids["run_id"]))
    assert browser.post(f"{page}/verdicts", {"verdict": "accepted", "seen": now}, page=page).status_code == 409
    latest = SEEN.search(browser.get(page).text)[1]
    assert browser.post(f"{page}/verdicts", {"verdict": "accepted", "seen": latest}, page=page).status_code == 303


def test_who_gave_no_name_is_told_by_the_key(browser, api, run_id):
    key = browser.sign_in(Role.SUBMITTER)
    page = f"/ui/runs/{run_id}"
    browser.post(f"{page}/verdicts", {"verdict": "accepted"}, page=page)
    shown = re.sub(r"<[^>]+>|\s+", " ", browser.get(page).text)
    assert re.search(f"Accepted +stands +by +key {key.split('_')[1]} *,", shown)
