"""`med3d demo` as `make demo` calls it: everything starts, one study gets its answer, nothing stays."""

import os
import signal
import subprocess
import sys

import pytest

from rig.processes.embedded import write_small_head
from rig.processes.waiting import family, wait_until, wait_until_gone

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def demo(tmp_path):
    """A function that starts the demo with an empty HOME and a temporary folder of its own."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "home").mkdir()
    started = []

    def start(*arguments):
        environment = dict(os.environ) | {
            "TMPDIR": str(tmp_path / "tmp"),
            "HOME": str(tmp_path / "home"),
            "COLUMNS": "200",
        }
        command = [sys.executable, "-m", "med3d_cli", "demo", *map(str, arguments)]
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
        return started[-1]

    yield start
    for process in started:
        everyone = family(process.pid)
        if process.poll() is None:
            process.kill()
        process.communicate()
        wait_until_gone(everyone)


def test_a_study_gets_its_answer_and_nothing_is_left_but_its_picture(demo, tmp_path):
    process = demo("--study", write_small_head(tmp_path / "study"))
    said, errors = process.communicate()
    assert process.returncode == 0, said + errors
    for part in (
        "med3d ready on http://127.0.0.1:",
        "preprocessing: brain extraction",
        "brain age",
        "estimated SDMT",
        "evidence: simulated labels",
        "decision",
        "all within limits",
        "provenance",
        "registration",
        "Stopped; nothing is left but that picture",
    ):
        assert part in said
    (left,) = (tmp_path / "tmp").iterdir()
    (picture,) = left.iterdir()
    assert str(picture) in said
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.long
def test_an_interrupted_demo_leaves_no_process_and_no_file(demo, tmp_path):
    process = demo("--study", write_small_head(tmp_path / "study"))
    everyone = wait_until(lambda: len(found := family(process.pid)) > 5 and found, "the start")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    wait_until_gone(everyone)
    assert list((tmp_path / "tmp").iterdir()) == []
