"""What people call while they work: `make test-quick` looks into every room, and the hooks of commits need no network."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import yaml
from hypothesis import settings

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
OTHERS = {"export"}
"""Rooms that need torch, which make test-quick does without."""


def listed(name):
    """The paths that a variable of the Makefile lists."""
    [words] = re.findall(rf"^{name} := (.*)$", MAKEFILE, re.MULTILINE)
    return [Path(word) for word in words.split()]


def quick_tests():
    return listed("QUICK")


def test_every_quick_test_is_there():
    assert [str(path) for path in quick_tests() if not (ROOT / path).exists()] == []


def test_every_room_has_a_quick_test():
    unit = Path("tests/unit")
    rooms = {one.name for one in (ROOT / unit).iterdir() if list(one.rglob("test_*.py"))} - OTHERS
    assert rooms - {path.relative_to(unit).parts[0] for path in quick_tests()} == set()


def test_the_quick_look_tries_fewer_random_examples_and_others_the_usual_number():
    assert "--hypothesis-profile=quick" in MAKEFILE
    assert settings.get_profile("quick").max_examples < settings.get_profile("project").max_examples == 100


def test_the_hooks_of_a_commit_are_checks_of_make_lint_from_the_environment_alone():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [one["repo"] for one in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        assert hook["language"] == "system"
        command = re.sub(" --force-exclude$", "", hook["entry"].removeprefix(".venv/bin/"))
        assert re.search(rf"^\t@\$\(BIN\)/{command}\b", MAKEFILE, re.MULTILINE), hook["entry"]


def test_every_test_of_export_is_where_make_looks_for_it():
    marked = {
        path.relative_to(ROOT)
        for path in (ROOT / "tests").rglob("test_*.py")
        if "export" in path.parts or re.search(r"mark\.export\b", path.read_text(encoding="utf-8"))
    } - {Path(__file__).relative_to(ROOT)}
    looked_at = listed("EXPORT")
    assert sorted(path for path in marked if not {path, *path.parents} & set(looked_at)) == []


def test_every_module_and_test_of_the_mutants_is_there():
    table = tomllib.loads((ROOT / "tests/mutants/modules.toml").read_text(encoding="utf-8"))
    named = [path for area in table.values() for path in (*area["modules"], *area["tests"])]
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_what_make_calls_keeps_what_python_compiled():
    told = subprocess.run(
        ["make", "--eval", "told: ; @env", "told"],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "PYTHONDONTWRITEBYTECODE" not in told.stdout
