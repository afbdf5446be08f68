"""Processes beside a command do not outlive it."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from rig.processes.waiting import wait_until_gone

pytestmark = pytest.mark.export

COMMAND = """
import sys, time
from med3d_export.processes import start_processes

if __name__ == "__main__":
    with start_processes(2, print, (), sys.argv[1]) as pool:
        working = [pool.submit(time.sleep, 600) for _ in range(2)]
        while not all(one.running() for one in working):
            time.sleep(0.01)
        print("working", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_command_that_was_killed(method, number, tmp_path):
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    with subprocess.Popen([sys.executable, script, method], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        while "working" not in command.stdout.readline():
            assert command.poll() is None
        started = psutil.Process(command.pid).children(recursive=True)
        assert len(started) >= 2
        os.kill(command.pid, number)
        command.wait(30)
        wait_until_gone(started)
