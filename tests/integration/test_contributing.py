"""CONTRIBUTING.md followed as it stands: each worked example is applied to a copy of the project, and its tests pass."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = ("service", "worker", "model_export", "tests", "docs", "pyproject.toml")
LARGE = shutil.ignore_patterns("bundles", "__pycache__", "images")

pytestmark = pytest.mark.timeout(300)


def worked_example(heading: str) -> tuple[str, list[str]]:
    """The change and the tests of a section; without its change the tests that it adds would not be there."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    [change] = re.findall(r"```diff\n(.*?\n)```", section, re.DOTALL)
    [tests] = re.findall(r"```\n\.venv/bin/pytest (.*)\n", section)
    if heading == "Add a migration":
        change, tests = renumbered(change), renumbered(tests)
    return change, shlex.split(tests)


def renumbered(example: str) -> str:
    """Give the example's migration the number after the newest."""
    newest = max(path.name[:4] for path in (CHECKOUT / "service" / "migrations" / "versions").rglob("[0-9]*.py"))
    return example.replace("0041", f"{int(newest) + 1:04d}").replace("0040", newest)


@pytest.fixture
def copy(tmp_path):
    """The project in a folder of its own, with the checkout's bundles."""
    for name in COPIED:
        source = CHECKOUT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(
            source, tmp_path / name, **({"ignore": LARGE} if source.is_dir() else {})
        )
    (tmp_path / "model_export" / "bundles").symlink_to(CHECKOUT / "model_export" / "bundles")
    return tmp_path


@pytest.mark.parametrize(
    "heading",
    [
        "Add a refusal code",
        pytest.param("Add a route", marks=pytest.mark.long),
        "Add a migration",
        "Add a page",
        pytest.param("Add a training objective", marks=pytest.mark.export),
    ],
)
def test_a_worked_example_is_all_that_it_takes(copy, heading):
    change, tests = worked_example(heading)
    subprocess.run(["git", "apply", "-"], input=change, text=True, cwd=copy, check=True)
    ours = os.pathsep.join(str(copy / folder) for folder in ("service", "worker", "model_export"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": ours},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


ROOTS = ("", "service", "service/med3d_service", "worker/med3d_pipeline", "service/med3d_service/api", "service/med3d_pages", "worker/med3d_worker",
         "model_export/med3d_export", "tests/unit/service/api")  # fmt: skip
"""Folders from which the page names paths."""


def test_what_the_page_points_at_is_there():
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = {one for one in re.findall(r"`([\w/.*]+)`", prose) if "/" in one or one.endswith((".py", ".md"))}
    linked = set(re.findall(r"\]\(([\w/.]+)\)", PAGE))
    assert len(named) > 40
    assert (
        sorted(path for path in named | linked if not any(list((CHECKOUT / root).glob(path)) for root in ROOTS)) == []
    )


def test_what_the_page_lets_one_type_is_a_target_of_make_and_what_it_names_is_in_the_code():
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.MULTILINE)) - targets == set()
    modules = [path for folder in ("service", "worker") for path in (CHECKOUT / folder).rglob("*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in modules)
    symbols = set(re.findall(r"`([A-Z][A-Za-z]+|CONTRACT_VERSION)`", PAGE))
    assert {"Viewer", "Unaudited", "CONTRACT_VERSION"} <= symbols
    assert sorted(one for one in symbols if not re.search(rf"^(?:class )?{one}\b", code, re.MULTILINE)) == []
