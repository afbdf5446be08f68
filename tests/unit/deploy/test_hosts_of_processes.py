"""What keeps the processes alive: systemd reads our units, each container has a health check that its process feeds."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from med3d_service.stopping import SHOWN_EVERY_S, StopSignal

DEPLOY = Path(__file__).parents[3] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
HEALTHY = "HEALTHCHECK"


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", COMPOSE)
def test_every_container_has_a_health_check_of_its_own_process(name):
    described = COMPOSE[name]
    if name in {"migrate", "api"}:  # the one ends; the other's is the image's
        assert described.get("healthcheck", {}).get("disable", False) is (name == "migrate")
        assert HEALTHY in (DEPLOY / "api" / "Dockerfile").read_text()
        return
    asked = " ".join(described["healthcheck"]["test"])
    if "MED3D_ALIVE_FILE" in asked:
        assert described["environment"]["MED3D_ALIVE_FILE"].startswith("/tmp/")
        assert "/tmp" in described["tmpfs"]
    else:
        assert name in {"postgres", "redis"}


def test_the_health_check_of_compose_hears_a_process_that_goes_round_and_none_that_hangs(tmp_path, handlers):
    alive = tmp_path / "alive"
    check = COMPOSE["courier"]["healthcheck"]["test"][1].replace("$$", "$")

    def healthy():
        return subprocess.run(["sh", "-c", check], env=os.environ | {"MED3D_ALIVE_FILE": str(alive)}, check=False)

    assert healthy().returncode != 0
    now = [0.0]
    stop = StopSignal(alive, clock=lambda: now[0])
    assert not stop.is_set
    assert healthy().returncode == 0
    os.utime(alive, (time.time() - 600, time.time() - 600))
    assert not stop.wait(0)
    assert healthy().returncode != 0, "within a few seconds it is not touched again"
    now[0] += SHOWN_EVERY_S
    assert not stop.wait(0)
    assert healthy().returncode == 0


def test_systemd_finds_no_fault_in_the_units(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    units = []
    for path in sorted((DEPLOY / "systemd").iterdir()):
        text = re.sub(r"/opt/med3d/bin/med3d", "/bin/true", path.read_text()).replace("User=med3d", "User=root")
        (tmp_path / path.name).write_text(text)
        units.append(str(tmp_path / path.name))
    assert len(units) == 3
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "med3d" in line]
    assert (done.returncode, said) == (0, [])


def test_each_folder_that_a_unit_writes_to_is_made_by_the_commands_in_the_service_s_head():
    head = (DEPLOY / "systemd" / "med3d.service").read_text().partition("[Unit]")[0]
    written = re.findall(
        r"^ReadWritePaths=(.*)$", (DEPLOY / "systemd" / "med3d-backup.service").read_text(), re.MULTILINE
    )
    assert written
    assert all(re.search(rf"^#   sudo install -d -o med3d .*{folder}$", head, re.MULTILINE) for folder in written)


def test_apptainer_installs_what_the_image_of_the_worker_does():
    wanted = re.findall(r"/opt/med3d/bin/pip install .*?(?= \\|\n)", (DEPLOY / "worker-cpu" / "Dockerfile").read_text())
    steps = (DEPLOY / "apptainer" / "med3d.def").read_text()
    assert len(wanted) == 2
    for step in wanted:
        assert step.replace("-r deploy", "-r /src/deploy").removesuffix(" .") in steps


def test_the_image_of_the_pages_fetches_their_viewer_before_it_is_installed():
    text = (DEPLOY / "api" / "Dockerfile").read_text()
    assert text.index("RUN python deploy/fetch_viewer.py") < text.index("--no-deps .")
