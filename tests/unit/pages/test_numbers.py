"""Numbers are written as the page's language writes them, and as English does where programs read them."""

import re
from html.parser import HTMLParser

import pytest

from med3d_contract.bundle_cards import bundle_card_key
from med3d_contract.explanations import (
    Explanation,
    ExplanationPicture,
    RegionShare,
    RegionShares,
    StoredExplanation,
    VentricleVolumes,
    explanation_key,
)
from med3d_contract.pictures import ReferenceCohort, reference_cohort_key
from med3d_contract.results import Interval
from med3d_pages.numbers import MINUS, Numbers
from med3d_pages.texts import catalogue
from med3d_service.cohorts.charts.paper_figure import PaperFigure
from med3d_service.trust.access import Role
from rig.service.answers_of_pages import answered, visited
from rig.service.work import BUNDLE
from unit.pages.test_model_page import CARD

SAID_ALOUD = {"aria-label", "alt", "placeholder", "title", "data-label"}
NO_SENTENCES = {"code", "script", "style"}
NEVER_CLOSED = {"input", "img", "link", "meta", "br", "line", "path", "rect", "circle"}
NOT_NUMBERS = re.compile(r"\d+(\.\d+){2,}(\.\w+)?|[1-9]\d{0,2}(\.000)+")
"""Versions, addresses and UIDs; thousands."""
WITH_A_POINT = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")


class Reader(HTMLParser):
    """What a person reads or hears of a page in its language: no code, no sentence in another, no settings."""

    def __init__(self):
        super().__init__()
        self.said, self._unread = [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if (
            self._unread
            or tag in NO_SENTENCES
            or (tag != "html" and given.get("lang") == "en")
            or "settings" in given.get("class", "")
        ):
            if tag not in NEVER_CLOSED:
                self._unread.append(tag)
            return
        self.said += [text for name, text in attrs if name in SAID_ALOUD and text]

    def handle_startendtag(self, tag, attrs):
        if not self._unread:
            self.said += [text for name, text in attrs if name in SAID_ALOUD and text]

    def handle_endtag(self, tag):
        if self._unread and self._unread[-1] == tag:
            self._unread.pop()

    def handle_data(self, data):
        if not self._unread:
            self.said.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    return [" ".join(text.split()) for text in reader.said if text.strip()]


@pytest.fixture(scope="module")
def paths(api):
    """Every page that shows numbers, of people with three visits, with all that can stand on it."""
    store = api.service.store
    card = CARD.model_copy(update={"training": CARD.training.model_copy(update={"field_strengths_t": (1.5, 3.0)})})
    store.put(bundle_card_key(BUNDLE.digest), card.model_dump_json().encode())
    cohort = ReferenceCohort(name="IXI", ages=(30.5, 60.0), brain_ages=(33.0, 58.0), pls_age=((0.1, 0.2), (0.3, 0.1)))
    store.put(reference_cohort_key(BUNDLE.digest), cohort.model_dump_json().encode())
    subject, runs = visited(api, "S-numbers", (50.3, 52.4, 55.5), ("A", "A", "B"))
    shares = RegionShares(
        regions=(RegionShare(region="thalamus", years=1.5, usual_spread_years=2.5),),
        rest_years=0.5,
        total_years=2.0,
        age_years=50.0,
    )
    kept = StoredExplanation(
        explanation=Explanation(
            step_years=10.0, shares=shares, ventricles_ml=VentricleVolumes(younger=20.4, now=22.0, older=25.0)
        ),
        picture=ExplanationPicture(width=1, height=1, png_base64="iVBORw0KGgoA"),
    )
    store.put(explanation_key(runs[0]), kept.model_dump_json().encode())
    refused = answered(api, ending="failed")
    key = api.key(Role.ADMIN)
    assert api.request("POST", "/cohorts", key, json={"name": "numbers"}).status_code == 201
    entries = [{"study_id": api.request("GET", f"/runs/{run}", key).json()["study_id"]} for run in runs]
    assert api.request("POST", "/cohorts/numbers/members", key, json={"entries": entries}).status_code == 200
    names = ("today", "worklist", "review", "upload", "cohorts", "model", "pacs", "admin", "account", "worklist?show=x")
    return [
        *(f"/ui/{name}" for name in names),
        *(f"/ui/runs/{run}" for run in (*runs, refused)),
        f"/ui/runs/{runs[0]}/beside/{runs[1]}",
        f"/ui/runs/{runs[0]}/viewer",
        f"/ui/subjects/{subject}",
        "/ui/cohorts/numbers",
        "/ui/cohorts/numbers/gallery",
    ]


def test_no_number_on_a_german_page_has_a_decimal_point(api, browser, paths):
    browser.sign_in(Role.ADMIN, clinical=True)
    for path in paths:
        page = browser.get(path, accept_language="de")
        assert page.status_code == 200, path
        said = [text for text in read(page.text) if WITH_A_POINT.search(NOT_NUMBERS.sub("", text))]
        assert said == [], path


def test_the_same_pages_have_decimals_to_be_found(browser, paths):
    browser.sign_in(Role.ADMIN, clinical=True)
    for mark, language in ((",", "de"), (".", "en")):
        said = [read(browser.get(path, accept_language=language).text) for path in paths]
        with_decimals = [one for one in said if any(re.search(rf"\d\{mark}\d", text) for text in one)]
        assert len(with_decimals) > len(paths) // 2, language


def test_places_in_pictures_and_fields_of_forms_keep_their_point(browser, paths):
    browser.sign_in(Role.ADMIN)
    for path in paths:
        page = browser.get(path, accept_language="de").text
        assert not re.search(r'\b(?:x|y|cx|cy|x1|x2|y1|y2|r|width|height|min|max|step)="[^"]*,', page), path


@pytest.mark.parametrize(
    ("language", "minus_zero", "signed", "interval", "took", "room"),
    [
        ("en", "0.0", f"{MINUS}1.25", "46.2 to 62.2", "1.5\xa0s", "12.5\xa0GB"),
        ("de", "0,0", f"{MINUS}1,25", "46,2 bis 62,2", "1,5\xa0s", "12,5\xa0GB"),
    ],
)
def test_each_language_writes_numbers_its_way(language, minus_zero, signed, interval, took, room):
    numbers = catalogue(language).numbers
    assert numbers.plain(-0.04, 1) == minus_zero
    assert numbers.signed(-0.04) == minus_zero
    assert numbers.signed(-1.25, 2) == signed
    assert numbers.interval(Interval(lower=46.2, upper=62.2, level=0.9)) == interval
    assert numbers.duration(1.5) == took
    assert numbers.size(12_500_000_000) == room


def test_a_unit_stays_on_the_line_of_its_number():
    written = [Numbers().duration(seconds) for seconds in (1.5, 20, 90, 600, 5000, 1e6)]
    assert [one.split(" ") for one in written] == [
        ["1.5\xa0s"], ["20\xa0s"], ["1\xa0min", "30\xa0s"], ["10\xa0min"], ["1\xa0h", "23\xa0min"], ["11\xa0days"],
    ]  # fmt: skip


def test_sizes_have_the_unit_that_fits():
    assert [Numbers().size(count) for count in (0, 999, 1000, 2_500_000, 3e12)] == [
        "0\xa0B",
        "999\xa0B",
        "1.0\xa0kB",
        "2.5\xa0MB",
        "3.0\xa0TB",
    ]


def test_a_figure_that_is_saved_has_the_page_s_decimals_along_its_axes():
    for mark, written in ((",", "0,4"), (".", "0.4")):
        figure = PaperFigure(100.0, 60.0, (0.0, 1.0), (0.0, 1.0), "", "", decimal_mark=mark)
        assert f">{written}<" in re.sub(r"\s", "", figure.as_form("svg").decode()), mark
