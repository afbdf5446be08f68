"""Programs of npm that stand on the other side in tests, where node and the packages are: `make peers` fetches them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = Path(os.environ.get("MED3D_NODE_PEERS", Path(__file__).parents[3] / "build" / "peers")) / "node_modules"


def start(package: str, script: str, *words: str) -> subprocess.Popen[str]:
    """Start a script of this folder that needs ``package``; what it says comes as text."""
    if shutil.which("node") is None or not (MODULES / package).is_dir():
        pytest.skip(f"{package} is not there: make peers")
    environment = os.environ | {"NODE_PATH": str(MODULES)}
    command = ["node", str(Path(__file__).parent / script), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
