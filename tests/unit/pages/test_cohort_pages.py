"""The pages of cohorts: progress, accuracy without what people rejected, members by a table, and moves."""

import re

import pytest

from med3d_pages.cohort_view import MOST_POINTS, cohort_chart
from med3d_pages.member_table import read_members
from med3d_service.cohorts.scatter import CohortScatter, ScatterPoint
from med3d_service.problems import ServiceError
from med3d_service.storage.tables import RunRow
from med3d_service.trust.access import Role
from rig.service.answers_of_pages import visited


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
    assert told.endswith("?added=3&missing=1")
    shown = browser.get(told).text
    assert "3 studies joined. One is not here" in shown
    assert all(f'href="/ui/runs/{run}"' in shown for run in runs)
    assert "<strong>7.33</strong>" in shown, "22 / 3"
    assert page in browser.get("/ui/cohorts").text


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
    assert browser.post(f"{page}/resume", {}, page=page).status_code == 409


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
     ("study_id,sex\nx,F\n,M", "Row 3")],
)  # fmt: skip
def test_a_table_that_cannot_be_read_says_where(text, said):
    with pytest.raises(ServiceError) as told:
        read_members(text)
    assert said in told.value.detail


def test_of_many_points_those_far_off_are_all_drawn():
    far = [ScatterPoint(f"far-{n}", 50.0, 90.0, "review") for n in range(50)]
    near = [ScatterPoint(f"near-{n}", 50.0, 51.0, "accepted") for n in range(9000)]
    chart = cohort_chart(CohortScatter((*near, *far), 0, 0))
    drawn = {run for _, _, run, _ in chart.points}
    assert {one.run_id for one in far} <= drawn
    assert len(drawn) <= MOST_POINTS
    assert chart.people == 9050
