"""What `make bench` calls a regression: a ratio to a peer of the same run, not a time."""

import importlib
import json
from pathlib import Path

import pytest

import bench
from bench.bench_regression import KEPT, PEERS, least, ratios, slower
from bench.measuring import keep_in_docs

OURS, PEER = dict.fromkeys(PEERS, 2.0), dict.fromkeys(PEERS, 1.0)


def test_a_machine_half_as_quick_is_no_regression():
    halved = ratios(dict.fromkeys(PEERS, 4.0), dict.fromkeys(PEERS, 2.0))
    assert slower(halved, ratios(OURS, PEER)) == []


def test_a_part_that_takes_a_fifth_longer_is_named_and_one_that_takes_a_tenth_longer_is_not():
    first, second, third = PEERS
    found = ratios({first: 2.4, second: 2.2, third: 2.0}, PEER)
    assert slower(found, ratios(OURS, PEER)) == [first]


def test_the_least_of_all_rounds_counts():
    assert least([{"a": 3.0, "b": 1.0}, {"a": 2.0, "b": 5.0}]) == {"a": 2.0, "b": 1.0}


def test_a_ratio_is_kept_for_each_part_and_for_the_whole():
    assert set(json.loads(KEPT.read_text())) == {*PEERS, "whole"}


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
