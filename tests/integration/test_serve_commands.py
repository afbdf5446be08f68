"""`med3d` as a process: what it imports, and one clear line for what is wrong."""

import subprocess
import sys

import pytest


def test_help_needs_none_of_the_heavy_packages():
    heavy = ("numpy", "SimpleITK", "onnxruntime", "fastapi", "sqlalchemy", "celery", "nibabel", "pydicom")
    program = f"import sys, med3d_cli.main as m; m.make_app(); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: no service is ready on {tmp_path}: set MED3D_DATA_DIR")
    assert "MED3D_URL" in line


def test_a_worker_without_settings_names_the_first_that_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "med3d_cli", "worker"], capture_output=True, text=True, env={"HOME": "/"}, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: MED3D_STORE_URL is not set"]
