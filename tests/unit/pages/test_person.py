"""The page of a person: visits over time, breaks where scanners changed, who may know who it is, and the table as CSV."""

import csv
import io
import json
import re

import pytest
from sqlalchemy import update

from med3d_pages.plots import Plot
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Role
from med3d_service.trust.audit.trail import entries
from rig.service.answers_of_pages import answered, visited

AGES, SCANNERS = (50.0, 52.0, 55.0), ("SIEMENS", "SIEMENS", "=cmd()")


@pytest.fixture(scope="module")
def person(api):
    return visited(api, "S-visits", AGES, SCANNERS, patient_name="Roe^<b>Jan", patient_id="P-9")


def last_entry(api):
    with api.service.database.read() as session:
        return list(entries(session))[-1]


def test_all_visits_stand_on_one_page_with_their_intervals_and_breaks(browser, api, person):
    subject_id, runs = person
    browser.sign_in()
    page = browser.get(f"/ui/subjects/{subject_id}").text
    assert all(f"/ui/runs/{run_id}" in page for run_id in runs)
    assert page.count('<circle class="dot') == 3
    assert page.count('<path class="whisker"') == 3
    assert page.count('<path class="course"') == 1, "a line through the first two"
    assert page.count('<line class="break"') == 1
    assert "another scanner" in page
    assert 'class="true-age"' in page
    assert page.index("at 55.0 years") < page.index("at 50.0 years")


def test_who_it_is_is_shown_with_the_clinical_grant_alone_and_recorded(browser, api, person):
    subject_id, runs = person
    browser.sign_in()
    page = browser.get(f"/ui/subjects/{subject_id}").text
    assert ("S-visits" in page, "Roe" in page, "2026-03-01" in page) == (True, False, False)
    clinical = type(browser)(api)
    clinical.sign_in(clinical=True)
    page = clinical.get(f"/ui/subjects/{subject_id}").text
    assert "Roe, &lt;b&gt;Jan" in page
    assert "2026-03-01" in page
    assert set(json.loads(last_entry(api).detail)["ids"].split()) == set(runs)


def test_other_visits_stand_beside_a_result_and_lead_to_the_person(browser, api, person):
    subject_id, runs = person
    browser.sign_in(clinical=True)
    page = browser.get(f"/ui/runs/{runs[1]}").text
    assert f"/ui/subjects/{subject_id}" in page
    assert runs[0] in page
    assert set(json.loads(last_entry(api).detail)["ids"].split()) == set(runs)
    alone = answered(api, subject="S-alone")
    assert "/ui/subjects/" not in browser.get(f"/ui/runs/{alone}").text


def test_the_table_is_a_csv_that_no_spreadsheet_runs(api, person):
    subject_id, runs = person
    answer = api.request("GET", f"/subjects/{subject_id}/trajectory?format=csv", api.key(Role.VIEWER))
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["run_id"] for row in rows] == runs
    assert [float(row["age"]) for row in rows] == list(AGES)
    assert (rows[0]["breaks"], rows[2]["breaks"]) == ("", "scanner changed")
    assert "Roe" not in answer.text


@pytest.mark.parametrize(("form", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_figure_is_saved_from_the_page_and_over_the_api(browser, api, person, form, begins):
    subject_id, _ = person
    browser.sign_in(clinical=True)
    page = browser.get(f"/ui/subjects/{subject_id}").text
    address = re.search(rf'href="(/ui/subjects/[^"]*form={form}[^"]*)"', page)[1].replace("&amp;", "&")
    answer = browser.get(address)
    assert answer.content.startswith(begins)
    assert f'visits-{subject_id[:8]}.{form}"' in answer.headers["content-disposition"]
    entry = last_entry(api)
    assert (entry.action, entry.object_id) == ("read", subject_id)
    over_api = api.request("GET", f"/subjects/{subject_id}/trajectory?format={form}", api.key(Role.VIEWER))
    assert over_api.content.startswith(begins)


def test_the_figure_speaks_the_page_s_language_and_names_nobody(browser, person):
    subject_id, _ = person
    browser.sign_in(clinical=True)
    address = f"/ui/subjects/{subject_id}/figure?form=svg"
    german = browser.get(address, Accept_Language="de").text
    assert "anderes Gerät" in german
    assert "Hirnalter mit Intervall" in german
    english = browser.get(address).text
    assert "another scanner" in english
    assert not re.search("Roe|P-9|S-visits|cmd", english + german)
    stranger = browser.get(f"/ui/subjects/{'0' * 64}/figure")
    assert stranger.status_code == 404


def test_another_site_s_visits_are_not_there(browser, api, person):
    subject_id, runs = person
    with api.service.database.write() as session:
        study_id = session.query(RunRow).where(RunRow.id == runs[2]).one().study_id
        session.execute(update(StudyRow).where(StudyRow.id == study_id).values(site="elsewhere"))
    try:
        here, there, nowhere = (type(browser)(api) for _ in range(3))
        for one, site in ((here, "default"), (there, "elsewhere"), (nowhere, "nowhere")):
            one.sign_in(site=site)
        seen = here.get(f"/ui/subjects/{subject_id}").text
        assert [run_id in seen for run_id in runs] == [True, True, False]
        assert re.findall(r"/ui/runs/([0-9a-f-]{36})", there.get(f"/ui/subjects/{subject_id}").text) == [runs[2]]
        assert nowhere.get(f"/ui/subjects/{subject_id}").status_code == 404
        assert here.get("/ui/subjects/nobody").status_code == 422
    finally:
        with api.service.database.write() as session:
            session.execute(update(StudyRow).where(StudyRow.id == study_id).values(site="default"))


def test_places_in_a_plot_keep_to_its_frame():
    plot = Plot((0.0, 10.0), (20.0, 40.0), width=100.0, height=50.0)
    assert (plot.x(5.0), plot.y(40.0), plot.y(20.0)) == (50.0, 0.0, 50.0)
    assert (plot.x(-3.0), plot.x(99.0), plot.y(0.0)) == (0.0, 100.0, 50.0)
    assert plot.path([(0.0, 20.0), (10.0, 40.0)]) == "M0.0 50.0 L100.0 0.0"
    assert [value for _, value in plot.x_ticks] == [0, 2, 4, 6, 8, 10]
