"""What cannot be logged is lost, and nothing with it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "configure",
    [
        "from med3d_service.logs import configure_logging as configure; configure()",
        "from med3d_worker.process.logs import configure_logs as configure; configure('INFO')",
    ],
    ids=["service", "worker"],
)
def test_a_full_disk_under_the_log_ends_no_process(configure):
    told = f"{configure}\nimport structlog\nfor _ in range(3): structlog.get_logger().error('told')\nprint('alive')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", told], stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert done.stdout == "alive\n"
