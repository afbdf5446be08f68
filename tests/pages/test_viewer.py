"""The viewer in a real browser: it draws the head that was sent, with its sides, and its layers can be shown."""

import io

import numpy as np
import pytest
from PIL import Image

from med3d_client.results import StudyOptions
from med3d_client.study_stream import open_study
from med3d_pages.files import viewer_library
from pages.accessibility import axe_source, grave_findings
from pages.browsing import ANSWER_TIMEOUT_MS, Person
from rig.processes.embedded import write_small_head
from rig.processes.waiting import wait_until

needs_library = pytest.mark.skipif(viewer_library() is None, reason="the viewer is not fetched (make pages)")


@pytest.fixture(scope="module")
def run_id(hospital, tmp_path_factory):
    with open_study(write_small_head(tmp_path_factory.mktemp("looked-at"), 31)) as upload:
        run_id = hospital.service.client.submit(upload, StudyOptions(age_years=50, subject="S-looked-at")).run_id
    hospital.service.wait_for_end(run_id)
    return run_id


def drawn(page):
    """The canvas as (rows, columns) of brightness, 0 to 255."""
    shot = Image.open(io.BytesIO(page.locator("#viewer canvas").screenshot()))
    return np.asarray(shot.convert("L"), dtype=float)


def set_slider(page, name, value):
    page.locator(f"#{name}").evaluate(f"(one) => {{ one.value = {value}; one.dispatchEvent(new Event('input')); }}")


@needs_library
def test_the_head_is_drawn_and_its_layers_can_be_shown(person, run_id):
    page = person.enter(to=f"/ui/runs/{run_id}").page
    page.get_by_role("link", name="Open the viewer").click()
    page.locator("#viewer[data-shown]").wait_for(timeout=ANSWER_TIMEOUT_MS)
    first = drawn(page)
    assert first.std() > 20, "the canvas is not blank"
    assert len(np.unique(first)) > 50
    assert page.locator("#stills").is_hidden()
    assert "mm; brightness" in page.locator(".viewer-at").inner_text()
    set_slider(page, "brain", 100)
    wait_until(lambda: np.abs(drawn(page) - first).mean() > 1, what="the brain is laid over the head")
    page.locator("#change").wait_for()
    page.locator("#planes").select_option("axial")
    assert drawn(page).std() > 20
    page.get_by_role("button", name="As at first").click()
    wait_until(lambda: np.abs(drawn(page) - first).mean() < 5, what="all is as at first")
    assert grave_findings(page, axe_source()) == []


@needs_library
def test_it_fits_a_small_screen_and_the_cross_hairs_move_by_keys(browser, hospital, run_id):
    person = Person(browser, hospital, viewport={"width": 400, "height": 860}, locale="de-DE")
    page = person.enter(to=f"/ui/runs/{run_id}/viewer").page
    page.locator("#viewer[data-shown]").wait_for(timeout=ANSWER_TIMEOUT_MS)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    before = page.locator(".viewer-at").inner_text()
    page.locator("#viewer canvas").focus()
    page.keyboard.press("l")
    wait_until(lambda: page.locator(".viewer-at").inner_text() != before, what="the cross-hairs have moved")
    assert person.complaints == []
    person.close()


def test_who_lacks_the_grant_gets_no_head(browser, hospital, run_id):
    person = Person(browser, hospital).enter(hospital.service.client, to=f"/ui/runs/{run_id}/viewer")
    person.see("Pictures of the head take the clinical grant.")
    assert person.page.locator("canvas").count() == 0
    assert person.complaints == []
    person.close()
