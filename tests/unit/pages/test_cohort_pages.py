"""The pages of cohorts: progress, accuracy without what people rejected, members by a table, and moves."""

import re

import pytest
from sqlalchemy import update

from med3d_contract.results import BundleRef
from med3d_pages.cohort_view import MOST_POINTS, cohort_chart
from med3d_pages.member_table import read_members
from med3d_pages.texts import catalogue
from med3d_service.cohorts.scatter import CohortScatter, ScatterPoint
from med3d_service.problems import ServiceError
from med3d_service.runs.bundles import register_bundles
from med3d_service.storage.tables import RunRow
from med3d_service.trust.access import Role
from med3d_service.trust.audit.trail import entries
from rig.service.answers_of_pages import visited
from rig.service.work import BUNDLE


@pytest.fixture(scope="module")
def runs(api):
    return visited(api, "S-cohort", (40.0, 50.0, 60.0), ("A", "A", "A"))[1]


def study_of(api, run_id):
    with api.service.database.read() as session:
        return session.query(RunRow).where(RunRow.id == run_id).one().study_id


def test_a_cohort_is_made_filled_by_a_table_and_shown(browser, api, runs):
    browser.sign_in(Role.SUBMITTER)
    page = browser.post("/ui/cohorts", {"name": "clinic"}, page="/ui/cohorts").headers["location"]
    rows = "study_id;age;sex\n" + "\n".join(f"{study_of(api, run)};;F" for run in runs) + "\nnone;44;M"
    told = browser.post(f"{page}/members", {"rows": rows}, page=page).headers["location"]
    assert told.endswith("?added=3&known=0&missing=1")
    shown = browser.get(told).text
    assert "3 studies joined. One is not here" in shown
    assert all(f'href="/ui/runs/{run}"' in shown for run in runs)
    assert "<strong>7.33</strong>" in shown, "22 / 3"
    assert page in browser.get("/ui/cohorts").text
    kept = re.search(r'href="(/cohorts/[^"]+/summary\?format=html[^"]+)"', shown)[1].replace("&amp;", "&")
    assert "7.33" in browser.get(kept).text
    told = api.request("GET", "/cohorts/clinic/summary", api.key(Role.VIEWER)).json()
    assert (told["people"], told["to_review"], len(told["farthest"])) == (3, 3, 3)


def test_a_cohort_without_members_is_not_under_way(browser, api):
    browser.sign_in(Role.SUBMITTER)
    page = browser.post("/ui/cohorts", {"name": "nobody-yet"}, page="/ui/cohorts").headers["location"]
    begun = api.request("POST", "/cohorts/nobody-yet/reprocess", api.key(Role.OPERATOR), json={})
    assert begun.json()["status"] == "running"
    assert "· under way" not in browser.get(page).text


def test_a_name_that_cannot_be_stands_again_with_what_can(browser):
    browser.sign_in(Role.SUBMITTER)
    assert "such as memory-2026" in browser.get("/ui/cohorts").text
    browser.post("/ui/cohorts", {"name": "taken"}, page="/ui/cohorts")
    for name, status, said in (("Memory clinic", 422, "without spaces"), ("taken", 409, "of this name already")):
        told = browser.post("/ui/cohorts", {"name": name}, page="/ui/cohorts")
        assert told.status_code == status
        assert said in told.text
        assert f'value="{name}"' in told.text


def test_a_table_that_cannot_be_read_stands_again_with_the_row_at_fault(browser, api, runs):
    browser.sign_in(Role.SUBMITTER)
    page = browser.post("/ui/cohorts", {"name": "at-fault"}, page="/ui/cohorts").headers["location"]
    rows = f"study_id,age\n{study_of(api, runs[0])},<old>"
    told = browser.post(f"{page}/members", {"rows": rows}, page=page)
    assert told.status_code == 422
    assert "Row 2, column age" in told.text
    assert "still stands in its field" in told.text
    assert rows.replace("<", "&lt;").replace(">", "&gt;") in told.text
    joined = f"study_id\n{study_of(api, runs[0])}"
    assert (
        browser.post(f"{page}/members", {"rows": joined}, page=page).headers["location"].endswith("known=0&missing=0")
    )
    again = browser.get(browser.post(f"{page}/members", {"rows": joined}, page=page).headers["location"]).text
    assert "One was in it already" in again


def test_what_moved_a_cohort_is_in_the_trail_with_the_cohort(browser, api):
    browser.sign_in(Role.SUBMITTER)
    page = browser.post("/ui/cohorts", {"name": "in-the-trail"}, page="/ui/cohorts").headers["location"]
    browser.post(f"{page}/begin", {}, page=page)
    with api.service.database.read() as session:
        entry = list(entries(session))[-1]
    assert (entry.action, entry.object_kind, entry.object_id) == ("change", "cohort", page.rpartition("/")[2])


def test_codes_are_told_in_words(browser, api):
    browser.sign_in(Role.SUBMITTER)
    with api.service.database.read() as session:
        study_id = session.query(RunRow).where(RunRow.id == api.ids["run_id"]).one().study_id
    page = browser.post("/ui/cohorts", {"name": "in-words"}, page="/ui/cohorts").headers["location"]
    browser.post(f"{page}/members", {"rows": f"study_id\n{study_id}"}, page=page)
    shown = browser.get(page).text
    assert re.search(r"[A-Z][^<]{20,}\. <code>not_a_head</code>", shown)


def test_an_answer_that_a_person_rejected_does_not_count(browser, api, runs):
    browser.sign_in(Role.SUBMITTER)
    page = next(iter(re.findall(r'href="(/ui/cohorts/[^"]+)">clinic<', browser.get("/ui/cohorts").text)))
    key = api.key(Role.SUBMITTER)
    api.request("POST", f"/runs/{runs[0]}/verdicts", key, json={"verdict": "rejected", "why": "It moved."})
    shown = browser.get(page).text
    assert "One answer that a person rejected is left out." in shown
    assert f'href="/ui/runs/{runs[0]}"' not in shown


def test_a_cohort_is_begun_let_rest_and_ended(browser):
    browser.sign_in(Role.SUBMITTER)
    page = browser.post("/ui/cohorts", {"name": "moves"}, page="/ui/cohorts").headers["location"]
    for move, then in (("begin", "Pause"), ("pause", "Go on"), ("resume", "Pause"), ("cancel", "Begin")):
        assert browser.post(f"{page}/{move}", {}, page=page).status_code == 303
        assert f">{then}<" in browser.get(page).text
    late = browser.post(f"{page}/resume", {}, page=page, referer=f"http://med3d{page}")
    assert (late.status_code, f'href="{page}"' in late.text) == (409, True), "it leads back to where it was asked"


def test_nights_are_set_and_taken_away_and_a_wrong_zone_is_told(browser):
    browser.sign_in(Role.SUBMITTER)
    page = browser.post("/ui/cohorts", {"name": "nights"}, page="/ui/cohorts").headers["location"]
    night = {"start": "21:30", "end": "05:00", "time_zone": "Europe/Berlin"}
    assert browser.post(f"{page}/schedule", night, page=page).headers["location"] == f"{page}#schedule"
    shown = browser.get(page).text
    assert "From 21:30 to 05:00 (Europe/Berlin)." in shown
    assert browser.post(f"{page}/begin", {"in_window": "1"}, page=page).status_code == 303
    for wrong, said in (({"time_zone": "Mars/Base"}, "no time zone"), ({"start": "05:00"}, "must differ")):
        told = browser.post(f"{page}/schedule", night | wrong, page=page)
        assert (told.status_code, said in told.text) == (422, True)
        assert all(f'value="{one}"' in told.text for one in (night | wrong).values())
        assert ("data-refresh" in browser.get(page).text, "data-refresh" in told.text) == (True, False), (
            "it would be lost"
        )
    browser.post(f"{page}/schedule", {"nights": "none"}, page=page)
    assert "not by night" in browser.get(page).text


def test_heads_are_looked_at_one_by_one_and_left_out_of_the_figures(browser, api):
    heads = visited(api, "S-gallery", (40.0, 50.0, 60.0), ("A", "A", "A"))[1]
    browser.sign_in(Role.SUBMITTER, clinical=True)
    page = browser.post("/ui/cohorts", {"name": "gallery"}, page="/ui/cohorts").headers["location"]
    rows = "study_id\n" + "\n".join(study_of(api, run) for run in heads)
    browser.post(f"{page}/members", {"rows": rows}, page=page)
    gallery = f"{page}/gallery"
    assert "There is no picture" in browser.get(gallery).text
    with api.service.database.write() as session:
        session.execute(update(RunRow).where(RunRow.id.in_(heads)).values(pictures={"key": "x", "sha256": "0" * 64}))
    assert all(f"/runs/{run}/pictures/axial" in browser.get(gallery).text for run in heads)
    said = {"run": heads[0], "verdict": "rejected", "why": "<script>it moved</script>"}
    assert browser.post(gallery, said, page=gallery).headers["location"] == gallery
    browser.post(gallery, {"run": heads[1], "verdict": "accepted"}, page=gallery)
    left = browser.get(gallery).text
    assert [run for run in heads if run in left] == [heads[2]]
    every = browser.get(f"{gallery}?all=1").text
    assert all(run in every for run in heads)
    assert "One answer that a person rejected is left out." in browser.get(page).text
    assert browser.post(gallery, said | {"verdict": "rescan"}, page=gallery).status_code == 422
    assert browser.post(gallery, said | {"why": ""}, page=gallery).status_code == 422
    viewer = type(browser)(api)
    viewer.sign_in(Role.VIEWER)
    assert "pictures/axial" not in viewer.get(f"{gallery}?all=1").text
    assert viewer.post(gallery, said, page="/ui/account").status_code == 403
    told = api.request("GET", "/cohorts/gallery/answers?unjudged=true", api.key(Role.VIEWER)).json()
    assert [one["run_id"] for one in told["items"]] == [heads[2]]


def test_another_model_s_numbers_stand_beside_the_first_ones(browser, api, runs):
    browser.sign_in(Role.SUBMITTER)
    page = browser.post("/ui/cohorts", {"name": "two-models"}, page="/ui/cohorts").headers["location"]
    browser.post(f"{page}/members", {"rows": "study_id\n" + study_of(api, runs[1])}, page=page)
    assert browser.get(f"{page}/diff").status_code == 409
    another = BundleRef(name="another", version="3", digest="ad" * 32)
    with api.service.database.write() as session:
        register_bundles(session, [another])
    shown = browser.get(f"{page}/diff?before={BUNDLE.digest}&after={another.digest}")
    assert "another 3" in shown.text
    assert "Fewer than two members" in shown.text
    assert f"before={another.digest}&amp;after={BUNDLE.digest}" in shown.text


def test_who_may_not_send_moves_nothing_and_other_sites_see_nothing(browser, api):
    cohort = api.ids["cohort"]
    browser.sign_in(Role.VIEWER)
    assert "<textarea" not in browser.get(f"/ui/cohorts/{cohort}").text
    assert browser.post(f"/ui/cohorts/{cohort}/begin", {}, page="/ui/account").status_code == 403
    elsewhere = type(browser)(api)
    elsewhere.sign_in(Role.SUBMITTER, site="elsewhere")
    assert elsewhere.get(f"/ui/cohorts/{cohort}").status_code == 404
    assert "walked" not in elsewhere.get("/ui/cohorts").text


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "names no column"), ("age\n40", "names no column"), ("study_id,age\nx,old", "Row 2, column age"),
     ("study_id,sex\nx,F\n,M", "Row 3"), ("study_id,age,Age\nx,40,50", "column age more than once"),
     ("study_id,age\nx,40,5", "Row 2 has more cells"), ("study_id,age\n\nx,40\nx,50", "Rows 3 and 4 say different"),
     ("study_id,age\n\n\nx,old", "Row 4, column age")],
)  # fmt: skip
def test_a_table_that_cannot_be_read_says_where(text, said):
    with pytest.raises(ServiceError) as told:
        read_members(text)
    assert said in told.value.detail


def test_a_table_of_a_program_that_writes_decimal_commas_and_marks_its_encoding_is_read():
    (entry,) = read_members("\ufeffstudy_id;age;participant_id\nx;40,5;a,b").entries
    assert (entry.study_id, entry.age, entry.participant_id) == ("x", 40.5, "a,b")


def test_columns_are_known_however_they_are_written_and_those_left_aside_are_counted():
    table = read_members("Study_ID, Age ,colour,\nx,40,red,,\nx,40,blue,\n")
    assert [(entry.study_id, entry.age) for entry in table.entries] == [("x", 40)]
    assert table.columns_aside == 1


def test_of_many_points_those_far_off_are_all_drawn():
    far = [ScatterPoint(f"far-{n}", 50.0, 90.0, "review") for n in range(50)]
    near = [ScatterPoint(f"near-{n}", 50.0, 51.0, "accepted") for n in range(9000)]
    chart = cohort_chart(CohortScatter((*near, *far), 0, 0), catalogue("en"))
    drawn = {run for _, _, run, _ in chart.points}
    assert {one.run_id for one in far} <= drawn
    assert len(drawn) <= MOST_POINTS
    assert chart.people == 9050
