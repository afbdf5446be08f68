"""The documents as a site: built without a warning, whole, and of use where there is no network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from med3d_service.settings import Settings
from med3d_worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "-b", "html", ROOT / "docs", built]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return built


def test_every_document_is_a_page_that_the_search_finds(site):
    pages = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")]
    assert [str(page) for page in pages if not (site / page).is_file()] == []
    assert (site / "searchindex.js").is_file()


def test_no_page_asks_the_network_for_anything(site):
    asked = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?:[^\"]+)\"")
    found = {url for page in site.rglob("*.html") for url in asked.findall(page.read_text(encoding="utf-8"))}
    assert found == set()


def test_every_setting_is_on_the_page_of_settings_with_its_meaning(site):
    page = (site / "generated" / "settings.html").read_text(encoding="utf-8")
    fields = WorkerSettings.model_fields | Settings.model_fields
    assert [name for name in fields if f"MED3D_{name.upper()}<" not in page] == []
    assert [name for name, field in fields.items() if not field.description] == []


def test_no_page_has_an_event_handler_that_the_policy_would_not_let_run(site):
    handler = re.compile(r"<[a-z]+[^>]*\son[a-z]+=", re.IGNORECASE)
    assert [page.name for page in site.rglob("*.html") if handler.search(without_scripts(page))] == []


def without_scripts(page):
    return re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
