"""The command line as its user meets it: help, usage, one clear line for what went wrong."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime
from med3d_cli.main import make_app
from med3d_contract.results import RunStatus

COMMANDS = ("serve", "submit", "runs", "show", "analyse", "worker", "bundle", "demo")


def invoke(*arguments):
    return CliRunner().invoke(make_app(), list(arguments))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    answer = invoke(command, "--help")
    assert answer.exit_code == 0
    assert "Usage" in answer.output


def test_help_needs_none_of_the_heavy_packages():
    heavy = ("numpy", "SimpleITK", "onnxruntime", "fastapi", "sqlalchemy", "celery", "nibabel", "pydicom")
    program = f"import sys, med3d_cli.main as m; m.make_app(); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_package_becomes_the_name_of_its_extra():
    with pytest.raises(CommandError, match=r'pip install "infovae-med3d\[worker\]"'), extra("worker"):
        import no_such_package  # noqa: F401


def test_a_missing_module_of_our_own_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError), extra("worker"):
        import med3d_pipeline.no_such_module  # noqa: F401


def test_two_onnx_runtime_wheels_are_named_with_the_way_out():
    with pytest.raises(CommandError, match="pip uninstall"):
        require_onnx_runtime(("onnxruntime", "onnxruntime-openvino"))


def test_no_onnx_runtime_names_the_extra():
    with pytest.raises(CommandError, match=r"infovae-med3d\[worker\]"):
        require_onnx_runtime(())


def test_analyse_refuses_two_formats_at_once(tmp_path):
    answer = invoke("analyse", str(tmp_path), "--json", "--csv", str(tmp_path / "out.csv"))
    assert isinstance(answer.exception, CommandError)
    assert answer.exception.exit_code == 2


@pytest.mark.parametrize("age", ["-1", "121", "old"])
def test_an_impossible_age_is_a_usage_error(tmp_path, age):
    assert invoke("analyse", str(tmp_path), "--age", age).exit_code == 2


def test_a_path_that_does_not_exist_is_a_usage_error():
    answer = invoke("analyse", "/no/such/study")
    assert answer.exit_code == 2
    assert "does not exist" in answer.output


@pytest.mark.parametrize("command", [("runs",), ("show", "x"), ("submit", "x")])
def test_commands_without_a_service_say_how_to_get_one(tmp_path, command):
    done = subprocess.run(
        [sys.executable, "-m", "med3d_cli", *command],
        capture_output=True,
        text=True,
        env={"MED3D_DATA_DIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: no service is known: set MED3D_URL, or start one with `med3d serve`"]


def test_a_worker_without_settings_names_the_first_that_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "med3d_cli", "worker"], capture_output=True, text=True, env={"HOME": "/"}, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: MED3D_STORE_URL: Field required"]


def test_exit_codes_tell_refused_from_failed():
    from collections import Counter

    from med3d_cli.analyse import exit_code

    assert exit_code(Counter({RunStatus.COMPLETED: 3})) == 0
    assert exit_code(Counter({RunStatus.COMPLETED: 3, RunStatus.REFUSED: 1})) == 3
    assert exit_code(Counter({RunStatus.REFUSED: 1, RunStatus.FAILED: 1})) == 4
