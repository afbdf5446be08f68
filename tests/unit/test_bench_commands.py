"""Benchmarks as commands: who asks one what it does gets told so, and what one keeps takes nothing of another's away."""

import importlib
from pathlib import Path

import pytest

import bench
from bench.bench_capacity import checked_costs
from med3d_cli.capacity.measured import shipped_costs
from rig.service.costs import COSTS

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


def test_costs_of_cores_that_are_measured_anew_leave_the_gpu_s_as_they_are():
    check = shipped_costs().checked[0]
    assert checked_costs(COSTS, [check]) == COSTS.model_copy(update={"checked": (check,), "gpu": shipped_costs().gpu})
