"""What the pages show to whom: lists, answers, refusals, and nothing that a sender wrote as markup."""

import csv
import io
import json
import re

import pytest
from sqlalchemy import update

from med3d_contract.explanations import (
    Explanation,
    ExplanationPicture,
    RegionShare,
    RegionShares,
    StoredExplanation,
    VentricleVolumes,
    explanation_key,
)
from med3d_contract.results import BundleRef, Priority
from med3d_pages import front
from med3d_pages.numbers import MINUS
from med3d_pages.rendering import HEADERS, brief_provider
from med3d_service.runs import transitions
from med3d_service.runs.bundles import register_bundles
from med3d_service.runs.queueing.enqueuing import enqueue
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Role
from med3d_service.trust.access.callers import needs_of
from med3d_service.trust.audit.trail import entries
from rig.service.answers_of_pages import answered
from rig.service.parts import LEASES, add_run, add_study, refused, worker
from rig.service.work import BUNDLE

MARKUP = "<script>alert('x')</script>"
OPEN = {
    "/",
    "/ui",
    "/ui/sign-in",
    "/ui/enter",
    "/ui/openid",
    "/ui/openid/back",
    "/ui/static/{digest}/{name}",
    "/ui/language/{language}",
    "/docs",
    "/docs/{name:path}",
}


def site_of(api, run_id, site):
    with api.service.database.write() as session:
        study_id = session.query(RunRow).where(RunRow.id == run_id).one().study_id
        session.execute(update(StudyRow).where(StudyRow.id == study_id).values(site=site))


@pytest.fixture(scope="module")
def run_id(api):
    return answered(api, subject="S-77", patient_name="Doe^Jane", patient_id="P-77")


def test_every_page_states_a_role_or_is_one_of_the_few_that_are_open():
    walked = 0
    for router in front().routers:
        for route in router.routes:
            needs = needs_of(route.endpoint)
            is_open = route.path in OPEN
            assert (needs is None) is is_open, route.path
            assert not route.include_in_schema
            walked += 1
    assert walked > 8


def test_pages_allow_no_script_or_style_but_their_own(browser, run_id):
    browser.sign_in(clinical=True)
    for path in ("/ui/worklist", f"/ui/runs/{run_id}", "/ui/account", "/ui/runs/none", "/ui/sign-in"):
        page = browser.get(path)
        assert page.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "private, no-store"
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script>|javascript:", page.text), path


def test_a_worklist_of_all_sites_names_the_site_of_what_is_not_the_service_s_own(browser, api):
    run_id = answered(api)
    with api.service.database.write() as session:
        study_id = session.query(RunRow).where(RunRow.id == run_id).one().study_id
        session.execute(update(StudyRow).where(StudyRow.id == study_id).values(site="Ward <north>"))
    browser.sign_in(Role.VIEWER)
    assert browser.get("/ui/worklist").text.count("<bdi>Ward &lt;north&gt;</bdi>") == 1
    rows = list(csv.DictReader(io.StringIO(browser.get("/ui/worklist.csv").text)))
    assert {row["site"] for row in rows if row["run_id"] == run_id} == {"Ward <north>"}
    assert "default" in {row["site"] for row in rows}


def test_a_worklist_shows_numbers_with_intervals_and_refusals_with_their_reason(browser, run_id, api):
    browser.sign_in()
    page = browser.get("/ui/worklist").text
    assert "S-77" in page
    assert "<strong>52.0</strong>" in page
    assert "44.0 to 60.0" in page
    assert 'aria-label="Brain age 52.0 years' in page
    assert "This is no head." in page
    assert "Wo die Datei es angibt, findet sich kein Gehirn" in browser.get("/ui/worklist", accept_language="de").text


def test_where_nothing_lies_a_person_is_told_in_their_language_where_to_go(browser):
    browser.sign_in()
    page = browser.get("/ui/runs/none", accept_language="de")
    assert page.status_code == 404
    assert "Suchen Sie ihn in der Arbeitsliste" in page.text
    assert "GET /" not in page.text


def test_who_a_patient_is_is_shown_with_the_clinical_grant_alone_and_each_look_recorded(browser, run_id, api):
    browser.sign_in()
    for path in ("/ui/worklist", f"/ui/runs/{run_id}", "/ui/worklist?q=P-77"):
        assert "Doe" not in browser.get(path).text
        assert "P-77 " not in browser.get(path).text
    assert run_id not in browser.get("/ui/worklist?q=P-77").text
    clinical = type(browser)(api)
    clinical.sign_in(clinical=True)
    assert "Doe, Jane" in clinical.get("/ui/worklist").text
    with api.service.database.read() as session:
        assert run_id in json.loads(list(entries(session))[-1].detail)["ids"]
    assert run_id in clinical.get("/ui/worklist?q=P-77").text
    with api.service.database.read() as session:
        entry = list(entries(session))[-1]
    assert (entry.action, entry.object_id) == ("search", run_id)
    assert json.loads(entry.detail)["sought"] == "accession_number patient_id study_uid subject"
    assert "Doe, Jane" in clinical.get(f"/ui/runs/{run_id}").text
    with api.service.database.read() as session:
        entry = list(entries(session))[-1]
    assert (entry.actor_kind, entry.action, entry.object_id) == ("session", "read", run_id)


@pytest.mark.parametrize(
    ("query", "finds"),
    [("show=review", True), ("show=refused", False), ("q=S-77", True), ("q=S-78", False), ("since=2020-01-01", True),
     ("since=2999-01-01", False), ("until=1999-01-01", False), ("sender=SCANNER", False), ("show=nonsense&since=x", True)],
)  # fmt: skip
def test_the_address_filters_the_list(browser, run_id, query, finds):
    browser.sign_in()
    assert (run_id in browser.get(f"/ui/worklist?{query}").text) is finds


def test_a_long_list_goes_on_page_by_page(browser, api):
    with api.service.database.write() as session:
        for number in range(60):
            enqueue(session, add_study(session), BUNDLE.digest, run_id=f"paged-{number}", priority=Priority.ROUTINE)
    browser.sign_in()
    first = browser.get("/ui/worklist?show=waiting").text
    older = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
    assert "show=waiting" in older
    second = browser.get(older).text
    on_first, on_second = (set(re.findall(r"/ui/runs/(paged-\d+)", page)) for page in (first, second))
    assert (len(on_first), len(on_second), on_first & on_second) == (50, 10, set())
    assert browser.get("/ui/worklist?cursor=x").status_code == 422


def test_a_page_of_an_answer_shows_arithmetic_that_adds_up(browser, run_id):
    browser.sign_in()
    page = browser.get(f"/ui/runs/{run_id}").text
    assert f"brain age 52.0 {MINUS} age 50.0 = gap +2.0" in page
    assert "Another vendor." in page
    assert "vendor_outside_calibration" in page
    assert "overlap</th>" in page
    assert "at least 0.80" in page
    assert "reading headers" in page


def test_a_page_of_a_refusal_says_what_was_seen_and_what_would_help(browser, api):
    browser.sign_in()
    page = browser.get(f"/ui/runs/{api.ids['run_id']}").text
    assert "This is no head." in page
    assert "What would help: send" in page
    assert "a T1-weighted scan of a whole head" in page
    assert "There is no picture" in page


def test_what_a_sender_wrote_is_text_and_never_markup(browser, api):
    hostile = answered(api, subject=MARKUP, patient_name=f"{MARKUP}^x", series_descriptions=json.dumps({"1": MARKUP}))
    odd = add_run(api.service.database)
    with api.service.database.write() as session:
        run = transitions.claim_preprocess(session, odd, worker(), LEASES)
        transitions.store_outcome(session, odd, refused(run.attempt, code=MARKUP), LEASES)
    browser.sign_in(clinical=True)
    for path in (
        "/ui/worklist",
        f"/ui/worklist?q={MARKUP}",
        f"/ui/runs/{hostile}",
        f"/ui/runs/{odd}",
        "/ui/runs/<script>",
    ):
        page = browser.get(path).text
        assert "<script>alert" not in page
        assert "/ui/runs/<script>" not in page
    assert "&lt;script&gt;alert" in browser.get(f"/ui/runs/{hostile}").text


def test_two_sites_do_not_see_each_other(browser, api, run_id):
    theirs = answered(api, subject="S-theirs")
    site_of(api, theirs, "another hospital")
    here, there = browser, type(browser)(api)
    here.sign_in(site="default")
    there.sign_in(site="another hospital")
    for one, own, other in ((here, run_id, theirs), (there, theirs, run_id)):
        listed = one.get("/ui/worklist?show=review").text
        assert (own in listed, other in listed) == (True, False)
        assert one.get(f"/ui/runs/{own}").status_code == 200
        missing = one.get(f"/ui/runs/{other}")
        assert (missing.status_code, "unknown_run" in missing.text) == (404, True)


def test_what_went_wrong_is_a_page_with_its_code_and_what_would_help(browser):
    browser.sign_in(Role.VIEWER)
    page = browser.get("/ui/nothing")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "not_found" in page.text


def test_who_may_not_is_told_in_the_page_s_language_and_without_the_words_of_programs(browser):
    browser.sign_in(Role.VIEWER)
    for language, said in (("en", "does not allow this"), ("de", "erlaubt das nicht")):
        page = browser.get("/ui/admin", accept_language=language)
        assert (page.status_code, said in page.text, "caller" in page.text) == (403, True, False)


def test_files_are_kept_under_an_address_that_changes_with_them(browser):
    page = browser.get("/ui/sign-in").text
    address = re.search(r'href="(/ui/static/\w+/pages\.css)"', page)[1]
    sent = browser.get(address)
    assert sent.headers["content-type"].startswith("text/css")
    assert "immutable" in sent.headers["cache-control"]
    assert browser.get("/ui/static/0000/pages.css").status_code != 200


@pytest.mark.parametrize("query", ["since=0001-01-01", "until=9999-12-31", "since=9999-12-31&until=0001-01-01"])
def test_the_first_and_last_days_of_the_calendar_ask_for_nothing(browser, query):
    browser.sign_in()
    assert browser.get(f"/ui/worklist?{query}").status_code == 200


def test_what_nobody_expected_is_a_page_with_the_headers_of_every_answer(api, browser):
    browser.sign_in()
    kept, api.app.state.probe = api.app.state.probe, None
    try:
        page = browser.get("/ui/today")
    finally:
        api.app.state.probe = kept
    assert (page.status_code, page.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "internal_error" in page.text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\u05db\u05d4\u05df^\u05d3\u05d5\u05d3", "\u05db\u05d4\u05df, \u05d3\u05d5\u05d3"),
        ("=\u5c71\u7530^\u592a\u90ce", "\u5c71\u7530, \u592a\u90ce"),
        ("Doe^Jane\u202e", "Doe, Jane\u202e"),
    ],
)
def test_a_name_of_any_script_stands_apart_from_the_digits_beside_it(api, browser, name, shown):
    run_id = answered(api, patient_name=name, patient_id="12345-A")
    browser.sign_in(clinical=True)
    apart = f"<bdi>{shown}</bdi> \N{MIDDLE DOT} <bdi>12345-A</bdi>"
    assert apart in browser.get("/ui/worklist").text
    assert apart in browser.get("/ui/review").text
    page = browser.get(f"/ui/runs/{run_id}").text
    assert apart in page
    assert f"<bdi>{shown}</bdi>\n" in page.split("</h1>")[0]


def test_the_page_of_a_problem_keeps_what_programs_need(browser):
    wrong = browser.post("/ui/enter", {})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")


def test_the_address_of_a_form_that_is_opened_by_hand_leads_to_its_page(browser, api):
    browser.sign_in(Role.ADMIN)
    cohort, run_id = api.ids["cohort"], api.ids["run_id"]
    for form, page in (
        (f"/ui/cohorts/{cohort}/members", f"/ui/cohorts/{cohort}"),
        (f"/ui/cohorts/{cohort}/schedule", f"/ui/cohorts/{cohort}"),
        (f"/ui/runs/{run_id}/again", f"/ui/runs/{run_id}"),
        ("/ui/pacs/pulls", "/ui/pacs"),
        ("/ui/admin/keys", "/ui/admin"),
        ("/ui/worklist/views", "/ui/worklist"),
    ):
        opened = browser.get(form)
        assert (opened.status_code, opened.headers["location"]) == (303, page)
        assert browser.get(page).status_code == 200


@pytest.mark.parametrize("path", ["/", "/ui", "/ui/worklist", "/ui/sign-in", "/ui/runs/none"])
def test_head_brings_what_get_would_without_a_body(browser, path):
    browser.sign_in()
    seen = browser.get(path)
    told = browser.api.request("HEAD", path, headers=browser._headers({}))
    assert (told.status_code, told.content) == (seen.status_code, b"")
    assert told.headers["content-type" if seen.content else "location"]


def test_head_uses_no_link_up(browser, api):
    link = api.request("POST", "/sign-in-links", api.key(Role.VIEWER)).json()["path"]
    assert api.request("HEAD", link).status_code == 405
    assert browser.get(link).status_code == 200


def test_no_answer_that_is_somebodys_data_is_kept_by_a_browser(api, run_id):
    key = api.key(Role.VIEWER, clinical=True)
    for path in (f"/runs/{run_id}/verdicts", f"/runs/{run_id}", "/runs", "/patients?q=P-77", "/me", "/runs/none"):
        assert "no-store" in api.request("GET", path, key).headers["cache-control"], path


def test_a_language_that_a_person_chose_goes_before_the_browser_s(browser):
    browser.sign_in()
    page = browser.get("/ui/worklist", accept_language="de")
    assert 'lang="de"' in page.text.split(">")[1]
    assert "Arbeitsliste" in page.text
    told = browser.get("/ui/language/en?to=/ui/review")
    assert (told.status_code, told.headers["location"]) == (303, "/ui/review")
    assert "Worklist" in browser.get("/ui/worklist", accept_language="de").text
    assert browser.get("/ui/language/en?to=//evil.example.org").headers["location"] == "/ui"
    assert browser.get("/ui/language/xx").status_code == 404


def test_the_list_is_a_table_under_pseudonyms_for_everybody(browser, api, run_id):
    answered(api, subject="=S()", patient_name="Roe^Jan")
    browser.sign_in(clinical=True)
    assert "/ui/worklist.csv?show=review" in browser.get("/ui/worklist?show=review").text
    table = browser.get("/ui/worklist.csv?show=review")
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    mine = next(row for row in rows if row["run_id"] == run_id)
    assert (mine["pseudonym"], float(mine["brain_age"]), mine["state"]) == ("S-77", 52.0, "review")
    assert {row["state"] for row in rows} == {"review"}
    assert "'=S()" in table.text
    assert "Roe" not in table.text
    assert "Doe" not in table.text


def test_a_list_says_how_much_of_it_the_table_holds(browser, run_id):
    browser.sign_in()
    assert "at most its newest 5000" in browser.get("/ui/worklist").text


def test_what_computes_is_named_as_people_do():
    assert [brief_provider(name) for name in ("OpenVINOExecutionProvider", "openvino")] == ["OpenVINO", "openvino"]


def test_selected_runs_are_done_again_hurried_and_taken_back_from_the_list(browser, api):
    failed = [answered(api, ending="failed") for _ in range(2)]
    waiting = add_run(api.service.database)
    browser.sign_in()
    listed = "/ui/worklist?show=failed"
    assert all(f'name="run" value="{one}"' in browser.get(listed).text for one in failed)
    told = browser.post(
        "/ui/worklist/changes?show=failed", {"change": "requeue", "run": [*failed, waiting]}, page=listed
    )
    assert told.headers["location"] == f"{listed}&changed=2&left=1"
    said = browser.get(told.headers["location"]).text
    assert "2 runs were changed. One was left as it is" in said
    under_way = "/ui/worklist?show=waiting"
    assert f'name="run" value="{waiting}"' in browser.get(under_way).text
    for change in ("stat", "cancel"):
        told = browser.post("/ui/worklist/changes", {"change": change, "run": waiting}, page=under_way)
        assert "changed=1&left=0" in told.headers["location"]
    assert waiting not in browser.get(under_way).text
    assert "No run was selected" in browser.get("/ui/worklist?changed=0").text
    assert browser.post("/ui/worklist/changes", {"change": "erase", "run": waiting}, page=under_way).status_code == 422
    viewer = type(browser)(api)
    viewer.sign_in(Role.VIEWER)
    assert 'name="run"' not in viewer.get("/ui/worklist").text
    forbidden = viewer.post("/ui/worklist/changes", {"change": "cancel", "run": failed}, page="/ui/account")
    assert forbidden.status_code == 403


def test_filters_are_kept_under_a_name_and_lead_back(browser, api):
    browser.sign_in(Role.VIEWER)
    listed = "/ui/worklist?show=refused&days=7"
    told = browser.post("/ui/worklist/views?show=refused&days=7", {"name": MARKUP}, page=listed)
    assert told.headers["location"] == listed
    page = browser.get("/ui/worklist").text
    assert 'href="/ui/worklist?show=refused&amp;days=7"' in page
    assert MARKUP not in page
    assert "Keep this view" not in browser.get(listed).text
    assert "neither dates nor" in browser.get("/ui/worklist?q=P-77").text
    view = re.search(r'name="view" value="([^"]+)"', browser.get(listed).text)[1]
    browser.post("/ui/worklist/views/forget?show=refused", {"view": view}, page=listed)
    assert "Forget" not in browser.get(listed).text
    assert browser.get("/ui/worklist?days=99999999999").status_code == 200


def test_a_run_under_way_is_hurried_taken_back_and_done_again_from_its_page(browser, api):
    run_id = add_run(api.service.database)
    browser.sign_in()
    page = f"/ui/runs/{run_id}"
    for change, offers in (("stat", "Routine"), ("cancel", "Run it again")):
        told = browser.post(f"{page}/changes", {"change": change}, page=page)
        assert (told.status_code, told.headers["location"]) == (303, page)
        assert offers in browser.get(page).text
    assert browser.post(f"{page}/again", {}, page=page).headers["location"] != page


def test_the_api_s_page_names_every_route_with_its_role(browser, api):
    browser.sign_in(Role.VIEWER)
    page = browser.get("/ui/api").text
    document = api.app.openapi()
    assert page.count('<details class="route">') == sum(len(methods) for methods in document["paths"].values())
    assert "Authorization: Bearer $KEY" in page
    assert len(page.encode()) < 150_000


def test_a_number_can_be_explained_from_its_page(browser, api):
    run_id = answered(api)
    browser.sign_in(clinical=True)
    page = f"/ui/runs/{run_id}"
    assert "Explain this number" in browser.get(page).text
    asked = browser.post(f"{page}/explanation", {}, page=page)
    assert (asked.status_code, (run_id, "explanation", 3) in api.service.broker.sent) == (303, True)
    assert "Load the page again" in browser.get(asked.headers["location"]).text
    share = RegionShare(region="white matter", years=2.84, usual_spread_years=1.9)
    shares = RegionShares(age_years=61.0, total_years=3.3, rest_years=0.46, regions=(share,))
    volumes = VentricleVolumes(younger=20.0, now=22.0, older=25.0)
    stored = StoredExplanation(
        explanation=Explanation(step_years=10.0, shares=shares, ventricles_ml=volumes),
        picture=ExplanationPicture(width=1, height=1, png_base64="iVBORw0KGgoA"),
    )
    api.service.store.put(explanation_key(run_id), stored.model_dump_json().encode())
    text = browser.get(page).text
    for shown in (
        "white matter",
        "+2.8",
        "Beside heads of 61.0 years",
        "for research use",
        f"{run_id}/explanation/picture",
    ):
        assert shown in text


def test_two_runs_stand_side_by_side_with_what_keeps_them_apart(browser, api, run_id):
    refused_one = api.ids["run_id"]
    browser.sign_in(clinical=True)
    page = browser.get(f"/ui/runs/{refused_one}/beside/{run_id}").text
    for said in (
        "Doe, Jane",
        "52.0",
        "nothing says that they are of one person",
        "Not both have a number",
        "not_a_head",
        "infovae",
    ):
        assert said in page, said
    assert "Two series" not in page, "one of them has none"
    with api.service.database.read() as session:
        assert set(json.loads(list(entries(session))[-1].detail)["ids"].split()) == {refused_one, run_id}
    again = answered(api)
    assert "Second minus first" in browser.get(f"/ui/runs/{again}/beside/{run_id}").text
    viewer = type(browser)(api)
    viewer.sign_in(Role.VIEWER)
    assert "Doe" not in viewer.get(f"/ui/runs/{again}/beside/{run_id}").text
    site_of(api, again, "elsewhere")
    viewer.sign_in(Role.VIEWER, site="default")
    assert viewer.get(f"/ui/runs/{run_id}/beside/{again}").status_code == 404


def test_a_study_is_run_by_another_model_and_both_runs_are_led_to_each_other(browser, api):
    run_id, another = answered(api), BundleRef(name="another", version="2", digest="ab" * 32)
    with api.service.database.write() as session:
        register_bundles(session, [another])
    browser.sign_in(Role.SUBMITTER)
    page = f"/ui/runs/{run_id}"
    with api.service.database.read() as session:
        study_id = session.query(RunRow).where(RunRow.id == run_id).one().study_id
    assert "another 2" in browser.get(page).text
    made = browser.post(f"/ui/studies/{study_id}/bundle", {"bundle": another.digest}, page=page).headers["location"]
    assert made != page
    assert f"{made}/beside/{run_id}" in browser.get(page).text
    assert f"{page}/beside/{made.rpartition('/')[2]}" in browser.get(made).text
    beside = browser.get(f"{page}/beside/{made.rpartition('/')[2]}").text
    assert ("Not both have a number" in beside, "Two models gave these" in beside) == (True, False)
