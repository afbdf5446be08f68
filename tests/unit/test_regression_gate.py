"""What `make bench` calls a regression: a ratio to the code of a kept revision in the same run, not a time."""

import importlib
import subprocess
from pathlib import Path

import pytest

import bench
from bench.bench_regression import CODE, least, ratios, slower, tree_of
from bench.measuring import keep_in_docs

BEFORE = {"a": 1.0, "b": 2.0, "whole": 3.0}


def test_a_machine_half_as_quick_is_no_regression():
    halved = {part: 2 * seconds for part, seconds in BEFORE.items()}
    assert slower(ratios(halved, halved)) == []


def test_a_part_that_takes_a_fifth_longer_is_named_and_one_that_takes_a_tenth_longer_is_not():
    assert slower(ratios(BEFORE | {"a": 1.2, "b": 2.2}, BEFORE)) == ["a"]


def test_the_least_of_all_rounds_counts():
    assert least([{"a": 3.0, "b": 1.0}, {"a": 2.0, "b": 5.0}]) == {"a": 2.0, "b": 1.0}


def test_the_code_of_a_revision_is_what_it_was_then(tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c", *words], check=True)

    git("init", "--quiet")
    for folder in CODE:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "code.py").write_text("then")
    git("add", ".")
    git("commit", "--quiet", "--message", "then")
    (tmp_path / CODE[0] / "code.py").write_text("now")
    with tree_of("HEAD", tmp_path) as tree:
        assert [(tree / folder / "code.py").read_text() for folder in CODE] == ["then"] * len(CODE)
    assert not tree.exists()
    with pytest.raises(SystemExit, match="no revision elsewhere here"), tree_of("elsewhere", tmp_path):
        pass


def test_a_table_is_put_between_its_marks_and_nowhere_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- measured: x -->\nold\n<!-- end of what was measured -->\nb\n")
    keep_in_docs("x", "new", page)
    assert page.read_text() == "a\n<!-- measured: x -->\n\nnew\n\n<!-- end of what was measured -->\nb\n"
    with pytest.raises(ValueError, match="no marks"):
        keep_in_docs("y", "new", page)


@pytest.mark.parametrize(
    "name", sorted({path.stem for path in Path(bench.__path__[0]).glob("*.py")} - {"bench_encoder"})
)
def test_a_benchmark_still_finds_what_it_measures(name):
    """The encoder's, which needs torch, is imported by a test of model_export."""
    importlib.import_module(f"bench.{name}")
