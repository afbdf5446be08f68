"""Benchmarks as commands: who asks one what it does gets told so, and nothing is measured or written."""

import importlib
from pathlib import Path

import pytest

import bench

NAMES = sorted({path.stem for path in Path(bench.__path__[0]).glob("*.py")} - {"bench_encoder", "plain_loop"})
"""The encoder's needs torch; the loop is no command but what another benchmark starts."""


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(importlib.import_module(f"bench.{name}"), "main")])
def test_a_benchmark_that_is_asked_for_help_begins_nothing(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MED3D_TEST_DATA", str(tmp_path))
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"bench.{name}").main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")
