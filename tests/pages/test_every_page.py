"""Every page at both widths and in both languages: it opens, fits, keeps its policy, weighs little, and shuts nobody out."""

import pytest

from pages.accessibility import axe_source, grave_findings
from pages.browsing import Person, few_slices
from rig.processes.embedded import write_small_head

MOST_BYTES = 150_000
CARRIED = """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter((one) => !one.name.includes("/pictures/")).reduce((sum, one) => sum + one.decodedBodySize, 0)"""
"""The bytes of a page with its own files, kept by the browser or not; pictures of heads aside."""
BROKEN_WORDS = """(() => {
  const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT), found = [];
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    if (!text.parentElement.checkVisibility() || text.parentElement.closest("code, .hidden")) continue;
    for (const word of text.data.matchAll(/(?<![\\p{L}\\d_])\\p{L}{3,16}(?![\\p{L}\\d_])/gu)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((one) => Math.round(one.top))).size > 1) found.push(word[0]);
    }
  }
  return found;
})()"""
"""Words of letters that stand on two lines; ids and digests may, and so may the trail's details."""
PAGES = ("today", "worklist", "review", "upload", "cohorts", "model", "pacs", "admin", "admin/audit", "api", "account")
SEEN = (
    {"viewport": {"width": 1280, "height": 900}, "locale": "en-US"},
    {"viewport": {"width": 400, "height": 860}, "locale": "de-DE"},
)


@pytest.fixture(scope="module")
def administrator(hospital):
    """A key that opens every page."""
    from med3d_client.results import ResultsClient

    client = ResultsClient(hospital.url, hospital.key("admin", "--clinical"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def paths(hospital, tmp_path_factory):
    """The address of each page; of one person two visits, one of them without a number."""
    from med3d_client.results import StudyOptions
    from med3d_client.study_stream import open_study

    runs = []
    for folder in (write_small_head(tmp_path_factory.mktemp("visit"), 21), few_slices(tmp_path_factory.mktemp("few"))):
        with open_study(folder) as upload:
            runs.append(hospital.service.client.submit(upload, StudyOptions(age_years=50, subject="S-visits")).run_id)
    for run_id in runs:
        hospital.service.wait_for_end(run_id)
    found = hospital.clinical._http.get("/subjects", params={"participant_id": "S-visits"}).json()
    return (
        [f"/ui/{name}" for name in PAGES]
        + [f"/ui/runs/{one}" for one in runs]
        + [f"/ui/subjects/{found['subject_id']}"]
    )


@pytest.mark.parametrize("looks", SEEN, ids=["wide", "narrow"])
def test_every_page_fits_weighs_little_and_shuts_nobody_out(browser, hospital, administrator, paths, looks):
    source = axe_source()
    person = Person(browser, hospital, **looks).enter(administrator)
    page = person.page
    for path in paths:
        assert page.goto(path).status == 200, path
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is wider than the screen"
        assert path == "/ui/admin/audit" or page.evaluate(BROKEN_WORDS) == [], path
        assert page.evaluate(CARRIED) < MOST_BYTES, path
        assert grave_findings(page, source) == [], path
    assert person.complaints == []
    person.close()


def test_the_language_is_the_browser_s_until_another_is_chosen(browser, hospital):
    person = Person(browser, hospital, locale="de-DE").enter()
    person.see("Arbeitsliste")
    person.page.get_by_role("link", name="English").click()
    person.see("Worklist")
    person.page.goto("/ui/model")
    person.see("How well it does")
    person.close()


def test_a_person_is_reached_from_a_result_and_leads_back(person, paths):
    result = next(path for path in paths if "/runs/" in path)
    person.enter(to=result)
    person.page.get_by_role("link", name="All visits over time").click()
    person.page.wait_for_url("**/ui/subjects/**")
    person.see("Visits")
