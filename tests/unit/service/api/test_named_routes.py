"""A route that is named anywhere, in code or docs, is one that the API has."""

import ast
import re
from pathlib import Path

import pytest

from rig.service.api import empty_api

ROOT = Path(__file__).parents[4]
PACKAGES = ("service/med3d_service", "service/med3d_contract", "service/med3d_cli", "worker/med3d_worker")
OF_OTHER_SERVERS = {"dicomweb.py", "following.py", "stow.py", "asking.py"}
"""Modules of peers/, pulls/ and delivery/ that call an Orthanc or another DICOMweb server by its own paths."""
OF_ORTHANC = "/dicom-web/"
CALL = re.compile(r"\b(GET|PUT|POST|DELETE|PATCH|HEAD) (/[A-Za-z{][\w/{}.-]*)")


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    """(method, path) of every route; what stands for a parameter is ``{}``."""
    api = empty_api(tmp_path_factory.mktemp("api"))
    # What the description leaves out, tests/pages/test_live.py follows.
    undescribed = {path: {"get": {}} for path in ("/openapi.json", "/events")}
    paths = api.app.openapi()["paths"] | undescribed
    api.close()
    return {(method.upper(), generic(path)) for path, methods in paths.items() for method in methods}


def generic(path):
    """Braces are doubled in a text that is filled in later."""
    return re.sub(r"\{+[^{}]*\}+", "{}", path.split("?")[0].rstrip("./")) or "/"


def leads_to(path, beginning):
    """What an f-string fills in may stand for any part."""
    parts = path.split("/")
    return len(parts) == len(beginning) and all(
        one in ("{}", other) for one, other in zip(parts, beginning, strict=True)
    )


def strings(module):
    """Every text in a module; what an f-string fills in is ``{}``."""
    inside = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def modules():
    return [module for package in PACKAGES for module in sorted((ROOT / package).rglob("*.py"))]


def test_every_path_in_the_code_is_a_route_s(routes):
    paths = {path for _, path in routes}
    firsts = {path.split("/")[1] for path in paths}
    beginnings = [path.split("/")[:depth] for path in paths for depth in range(2, len(path.split("/")) + 1)]
    beginnings += [["", *parts[2:]] for parts in beginnings if parts[1] == "worker"]  # as its router declares them
    named = {
        (str(module.relative_to(ROOT)), generic(text))
        for module in modules()
        if module.name not in OF_OTHER_SERVERS or "routes" in module.parts
        for text in strings(module)
        if re.fullmatch(r"/[a-z][\w/{}.-]*(\?.*)?", text) and text.split("/")[1].split("?")[0] in firsts
    }
    assert {(where, path) for where, path in named if not any(leads_to(path, one) for one in beginnings)} == set()
    assert len(named) > 30


def test_every_call_that_a_docstring_or_a_page_names_is_answered(routes):
    texts = [(module, text) for module in modules() for text in strings(module)]
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts += [(page, page.read_text(encoding="utf-8")) for page in pages]
    named = {
        (str(where.relative_to(ROOT)), method, generic(path))
        for where, text in texts
        for method, path in CALL.findall(text)
        if not path.startswith(OF_ORTHANC)
    }
    assert {(where, method, path) for where, method, path in named if (method, path) not in routes} == set()
    assert len(named) > 30
