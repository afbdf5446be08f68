"""Names that a stranger reads at first sight: no class name twice in a package, no word that says nothing, no folder too full."""

import ast
import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(
    path
    for folder in ("service", "worker", "model_export")
    for path in (ROOT / folder).glob("med3d_*")
    if path.is_dir()
)
STILL_TWICE = {
    "med3d_service": {
        "Answer", "Caller", "Finding", "Limits", "Member", "NamedPatient", "Parts", "Places", "Rule",
    },
}  # fmt: skip
"""What is left to be renamed: it may only become less."""
CRYPTIC = frozenset(
    [
        "lying",
        "heed",
        "heeded",
        "spoken",
        "what_was_left",
        "by_fault",
        "held_by",
        "companions",
        "full_is_full",
        "told_where_it_fails",
    ]
)
"""Names that had to be explained to every reader; docs/glossary.md has the words."""


MOST_FILES = 25
"""As many names are still looked over."""
FULLER: dict[str, int] = {}
"""Folders that may hold more files, and how many: none does."""


DEFINITION = re.compile(r"^ *(class|def|async def) (\w+)", re.MULTILINE)
"""By lines: to parse all of the code takes fifty times as long and finds the same names."""


@functools.cache
def definitions(package: Path) -> list[tuple[str, str, str]]:
    """Module, kind and name of every class and function."""
    return [
        (module.relative_to(package).as_posix(), *found)
        for module in sorted(package.rglob("*.py"))
        for found in DEFINITION.findall(module.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_class_name_means_two_things_in_a_package(package):
    places = defaultdict(list)
    for module, kind, name in definitions(package):
        if kind == "class":
            places[name].append(module)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert twice.keys() == STILL_TWICE.get(package.name, set()), twice


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_name_is_one_that_had_to_be_explained(package):
    named = {name.strip("_").casefold() for _, _, name in definitions(package)}
    assert named & CRYPTIC == set()


@pytest.mark.parametrize("part", ["service", "worker", "model_export", "tests", "deploy"])
def test_no_folder_has_more_files_of_code_than_one_looks_over(part):
    code = [*(ROOT / part).rglob("*.py"), *(ROOT / part).rglob("templates/**/*.html")]
    files = Counter(file.parent.relative_to(ROOT).as_posix() for file in code)
    assert {folder: count for folder, count in files.items() if count > FULLER.get(folder, MOST_FILES)} == {}


def test_the_glossary_names_modules_that_are_there():
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    named = re.findall(r"\(`([a-z_0-9.]+)`\)", page)
    assert len(named) > 15
    packages = [
        ROOT / "service" / "med3d_service",
        ROOT / "worker" / "med3d_pipeline",
        ROOT / "service",
        ROOT / "worker",
    ]
    missing = [
        name
        for name in named
        if not any(
            (package / name.replace(".", "/")).is_dir() or (package / (name.replace(".", "/") + ".py")).is_file()
            for package in packages
        )
    ]
    assert missing == []


NO_VERBS = {"A", "An", "The", "What", "Whether", "Where", "How", "Why", "Which", "Who", "Whose", "When"}
NO_VERBS |= {"Of", "By", "As", "From", "For", "With", "All", "Every", "Each", "Those", "None"}
"""Words with which a docstring of a function says a thing and not what is done; ruff (D401) knows others."""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions and methods; properties are things and not what is done."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not any(
            "property" in ast.unparse(one) for one in node.decorator_list
        ):
            yield node


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_docstring_of_a_function_begins_with_a_verb(package):
    begun = [
        (module.name, one.name, text.split()[0])
        for module in sorted(package.rglob("*.py"))
        for one in functions(ast.parse(module.read_text(encoding="utf-8")))
        if (text := ast.get_docstring(one))
    ]
    assert len(begun) > 5
    assert [found for found in begun if found[-1] in NO_VERBS] == []
