"""The viewer in a real browser: it draws the head that was sent, with its sides, and its layers can be shown."""

import io

import nibabel as nib
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


def halved(page, affine):
    """The header and the first row of a head of 160^3 voxels, brighter by 2 at each step along x, as it is shown first."""
    header = nib.Nifti1Image(np.zeros((160, 160, 160), np.int16), affine).to_bytes()[:352]
    content = page.evaluate(
        """(header) => { const file = new ArrayBuffer(352 + 2 * 160 ** 3);
        new Uint8Array(file).set(header);
        new Int16Array(file, 352).forEach((_, at, all) => { all[at] = 2 * (at % 160); });
        return Array.from(new Uint8Array(coarse(file)).slice(0, 352 + 160)); }""",
        list(header),
    )
    head = nib.Nifti1Header.from_fileobj(io.BytesIO(bytes(content)), check=False)
    return head, np.frombuffer(bytes(content[352:]), np.int16)


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
    affine = np.array([[0, 0, 1.5, -90], [-1, 0, 0, 40], [0, 1, 0, 7], [0, 0, 0, 1]])
    header, row = halved(page, affine)
    assert header.get_data_shape() == (80, 80, 80)
    np.testing.assert_allclose(
        header.get_best_affine(), affine @ np.diag([2, 2, 2, 1]) + affine @ np.array([[0, 0, 0, 0.5]] * 3 + [[0] * 4])
    )
    assert list(row) == [4 * step + 1 for step in range(80)], "each voxel is the mean of its eight"


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
