"""What people call while they work: `make test-quick` looks into every room, and the hooks of commits need no network."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
OTHERS = {"export"}
"""Rooms that need torch, which make test-quick does without."""


def quick_tests():
    [listed] = re.findall(r"^QUICK := (.*)$", MAKEFILE, re.MULTILINE)
    return [Path(name) for name in listed.split()]


def test_every_quick_test_is_there():
    assert [str(path) for path in quick_tests() if not (ROOT / path).exists()] == []


def test_every_room_has_a_quick_test():
    unit = Path("tests/unit")
    rooms = {one.name for one in (ROOT / unit).iterdir() if list(one.rglob("test_*.py"))} - OTHERS
    assert rooms - {path.relative_to(unit).parts[0] for path in quick_tests()} == set()


def test_the_hooks_of_a_commit_are_checks_of_make_lint_from_the_environment_alone():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [one["repo"] for one in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        assert hook["language"] == "system"
        command = re.sub(" --force-exclude$", "", hook["entry"].removeprefix(".venv/bin/"))
        assert re.search(rf"^\t@\$\(BIN\)/{command}\b", MAKEFILE, re.MULTILINE), hook["entry"]
