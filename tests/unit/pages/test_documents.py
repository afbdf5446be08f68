"""The documents as the API serves them: pages whose own scripts run, and none that somebody adds."""

import asyncio
import base64
import hashlib

import httpx
import pytest
from fastapi import FastAPI

from med3d_pages.documents import policy_of
from med3d_pages.routes.documents import make_router
from med3d_service.problem_answers import render_problems

SCRIPT = "document.body.dataset.theme = 'dark' && \"1 < 2\";"
PAGE = f'<html><body><script>{SCRIPT}</script><script src="_static/a.js"></script><a href="pacs.html">PACS</a></body></html>'


@pytest.fixture
def site(tmp_path):
    made = tmp_path / "site"
    (made / "_static").mkdir(parents=True)
    (made / "index.html").write_text(PAGE, encoding="utf-8")
    (made / "_static" / "a.js").write_text("let a;", encoding="utf-8")
    (made / ".buildinfo").write_text("config", encoding="utf-8")
    (tmp_path / "secret.html").write_text("not of the site", encoding="utf-8")
    return made


def get(site, path):
    app = FastAPI(openapi_url=None)  # as the service's: FastAPI has pages of its own at /docs otherwise
    app.include_router(make_router(site))
    render_problems(app)

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://med3d") as client:
            return await client.get(path, follow_redirects=True)

    return asyncio.run(ask())


def test_the_bare_address_leads_to_the_first_page(site):
    answer = get(site, "/docs")
    assert (answer.status_code, answer.text, answer.url.path) == (200, PAGE, "/docs/index.html")


def test_a_file_is_given_with_its_kind(site):
    answer = get(site, "/docs/_static/a.js")
    assert (answer.text, answer.headers["content-type"].partition(";")[0]) == ("let a;", "text/javascript")


@pytest.mark.parametrize(
    "name", ["../secret.html", "%2e%2e/secret.html", ".buildinfo", "_static", "nothing.html", "_static//a.js"]
)
def test_nothing_else_is_given(site, name):
    answer = get(site, f"/docs/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_without_a_site_there_is_nothing(tmp_path):
    assert get(tmp_path / "never-built", "/docs/index.html").status_code == 404


def test_a_page_runs_its_own_scripts_alone(site):
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = get(site, "/docs/index.html").headers["content-security-policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert scripts == f"script-src 'self' 'sha256-{digest}'"


def test_a_file_that_is_no_page_allows_no_script_within(site):
    assert "sha256" not in policy_of(site / "_static" / "a.js")
