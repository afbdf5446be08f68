"""The catalogue of texts: each one is used, each language has all of them, and remedies are those of docs/refusals.md."""

import re
from pathlib import Path

from med3d_pages import rendering
from med3d_pages.problem_pages import words_of
from med3d_pages.texts import DEFAULT, catalogue, languages, meanings, preferred, remedies
from med3d_pipeline.reasons import ReviewCode
from med3d_service.problems import CATALOGUE

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "service" / "med3d_pages"
BUILT = (
    "signin.error.", "remedy.", "problem.said.", "problem.help.", "step.", "model.evidence.", "meaning.", "measure.", "role.", "state.", "stage.", "nav.", "decision.", "pictures.", "verdict.", "alert.",
    "line.", "urgency.", "result.age_source.", "person.time.", "person.time_of.", "person.measure.", "break.",
    "model.baseline.", "cohorts.status.", "cohorts.share.", "cohorts.move.", "diff.change.", "worklist.change.", "model.figure.", "model.group.", "pacs.states.", "pulls.states.", "pulls.fault.",
)  # fmt: skip
"""Keys that are put together from a word of the data: their group is used as a whole."""


def used():
    """Every text of the templates and the code, as it may be a key."""
    sources = [*PAGES.rglob("*.html"), *PAGES.rglob("*.py")]
    return set(re.findall(r"[\"']([a-z_.]+)[\"']", "\n".join(one.read_text() for one in sources)))


def test_every_text_is_used():
    keys = {key for key in catalogue(DEFAULT).texts if not key.startswith(BUILT)}
    plural = {key.removesuffix(".one").removesuffix(".other") for key in keys}
    sources = used()
    assert {
        key
        for key in plural
        if key not in sources and not any(key.startswith(f"{one}") for one in sources if one.endswith("."))
    } == set()


def test_every_key_in_a_template_has_its_text():
    texts = catalogue(DEFAULT).texts
    for template in (PAGES / "templates").rglob("*.html"):
        for key in re.findall(r"\bt\(\"([a-z_.]+)\"\s*[,)]", template.read_text()):
            assert key in texts, (template.name, key)


def test_every_language_has_every_text_with_the_same_values():
    default = catalogue(DEFAULT).texts
    for language in languages():
        texts = catalogue(language).texts
        assert texts.keys() == default.keys()
        for key, text in texts.items():
            assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", default[key])), key


def test_what_would_help_stands_in_the_page_that_documents_refusals():
    said = remedies(DEFAULT)
    assert len(said) > 40
    assert said["secondary_capture"] == "the scanner's original images"
    assert not any(mark in text for text in said.values() for mark in "`*|")
    told = [*said.values(), *meanings(DEFAULT).values(), *remedies("de").values(), *meanings("de").values()]
    assert not any(mark in text for text in told for mark in ("](", ".md", "`"))
    assert remedies("xx") == {}
    assert catalogue("de").maybe("remedy.secondary_capture") == "die Originalbilder des Geräts"


def test_another_language_says_what_a_code_means_and_english_leaves_it_to_the_sentence():
    german = catalogue("de")
    assert german.meaning("thick_slices").startswith("Bildpunkte von mehr als 2 mm Länge")
    assert german.meaning("not_mr") == "CT, PET oder eine andere Modalität."
    assert german.meaning("a_code_of_tomorrow") is None
    assert catalogue(DEFAULT).meaning("thick_slices") is None
    assert {code.value for code in ReviewCode} <= meanings("de").keys()


OF_PROGRAMS = {
    "missing_key", "unknown_pull", "request_under_way", "key_of_another_request", "invalid_idempotency_key",
    "range_not_there", "headers_too_large", "pull_sent_to_studies", "malformed_store", "not_multipart_related", "nifti_truncated",
}  # fmt: skip
"""No page leads to these; the last speaks of a file's header."""


def test_what_helps_a_person_at_a_page_names_no_route_or_header():
    of_programs = re.compile(r"\b(GET|POST) /|openapi|multipart|\bheader\b|'errors'|If-Match|cursor", re.IGNORECASE)
    for code, (_, sentence, remedy) in CATALOGUE.items():
        if code in OF_PROGRAMS or not of_programs.search(f"{sentence} {remedy}"):
            continue
        for language in languages():
            said, helps = words_of(catalogue(language), {"code": code, "detail": sentence, "remedy": remedy})
            assert not of_programs.search(f"{said} {helps}"), code
            assert language == DEFAULT or sentence != said, code
    told = {"code": "invalid_request", "detail": "Row 2, column age.", "remedy": "See 'errors'."}
    assert words_of(catalogue("de"), told)[0] == "Row 2, column age.", "what is said of this very request is worth more"


def test_scripts_say_steps_and_meanings_in_the_page_s_language():
    english, german = (dict(catalogue(one).spoken_by_scripts()) for one in ("en", "de"))
    assert german["step.brain extraction"] == "das Gehirn wird gesucht"
    assert german["meaning.not_mr"] == "CT, PET oder eine andere Modalität."
    assert "empty" in english["help.empty_upload"]
    assert german["said.empty_upload"].startswith("Die Dateien sind leer")
    assert not any(name.startswith(("meaning.", "said.")) for name in english), "the service's own sentence says more"


def test_the_language_is_the_one_that_the_browser_likes_best_of_those_there_are():
    for header in ("", "en", "xx, en;q=0.5", "en-GB,de;q=0.1", "q=;;,", "*"):
        assert preferred(header).language == DEFAULT
    for header, chosen, language in (
        ("de-AT,en;q=0.3", None, "de"),
        ("de", "en", "en"),
        ("en", "de", "de"),
        ("de", "xx", "de"),
    ):
        assert preferred(header, chosen).language == language


def test_templates_can_all_be_read():
    for template in rendering.environment().list_templates():
        rendering.environment().get_template(template)


def test_no_cell_of_a_table_is_drawn_as_a_block_of_its_own():
    style = (PAGES / "static" / "pages.css").read_text()
    blocks = {
        name for name, rule in re.findall(r"^\.([\w-]+) {([^}]*)}", style, re.MULTILINE) if "display: block" in rule
    }
    assert blocks
    cells = [
        (path.name, name)
        for path in (PAGES / "templates").rglob("*.html")
        for classes in re.findall(r'<t[dh][^>]* class="([^"{]+)"', path.read_text())
        for name in classes.split()
    ]
    assert [cell for cell in cells if cell[1] in blocks] == []
