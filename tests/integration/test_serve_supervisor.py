"""The supervisor with small children of its own: starts, starts again, gives up, stops, leaves nobody behind."""

import json
import os
import signal
import subprocess
import sys

import pytest

from rig.processes.waiting import family, living, wait_until, wait_until_gone, words_of

STEADY = "import time; print('steady', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
)
WITH_CHILD = (
    "import os, subprocess, sys, time\n"
    "from med3d_worker.process.tether import die_with_parent\n"
    "here = os.getpid()\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], preexec_fn=lambda: die_with_parent(here))\n"
    "print('parent', flush=True)\n"
    "time.sleep(600)\n"
)
PROGRAM = """
import json, os, sys
from pathlib import Path
from med3d_cli.embedded.child_process import ChildSpec
from med3d_cli.errors import CommandError
from med3d_cli.embedded.supervisor import Supervisor
said = json.loads(sys.argv[1])
specs = [ChildSpec(name, (sys.executable, "-c", code), os.environ, frozenset({78})) for name, code in said.items()]
order = [((name,), 0.5) for name in said]
try:
    Supervisor(specs, order, Path(sys.argv[2]), echo=False).run(lambda: None)
except CommandError as error:
    sys.exit(f"error: {error}")
"""


class Supervised:
    """A supervisor of Python one-liners in a process of its own."""

    def __init__(self, folder, children):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(children), str(folder)], stderr=subprocess.PIPE, text=True
        )

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def wait_for_line(self, name, line, times=1):
        wait_until(lambda: self.log(name).count(line) >= times, f"{times} x {line!r} of {name}")

    def child(self, name):
        code = {"steady": STEADY, "stubborn": STUBBORN, "with_child": WITH_CHILD}[name]
        [found] = [one for one in family(self.process.pid)[1:] if words_of(one)[-1:] == [code]]
        return found


@pytest.fixture
def supervised(tmp_path):
    started = []

    def start(**children):
        started.append(Supervised(tmp_path, children))
        return started[-1]

    yield start
    for one in started:
        everyone = family(one.process.pid)
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()
        wait_until_gone(everyone)


def test_sigterm_stops_everybody_the_stubborn_too(supervised):
    service = supervised(steady=STEADY, stubborn=STUBBORN)
    service.wait_for_line("steady", "steady")
    service.wait_for_line("stubborn", "on")
    everyone = family(service.process.pid)
    assert len(everyone) == 3
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(60)
    assert service.process.returncode == 0
    assert living(everyone) == []


def test_a_killed_supervisor_leaves_neither_children_nor_grandchildren(supervised):
    service = supervised(steady=STEADY, with_child=WITH_CHILD)
    service.wait_for_line("with_child", "parent")
    service.wait_for_line("steady", "steady")
    everyone = wait_until(
        lambda: len(found := family(service.process.pid)) == 4 and found, "supervisor, two children and a grandchild"
    )
    service.process.kill()
    wait_until_gone(everyone)


def test_a_child_that_is_killed_is_started_again(supervised):
    service = supervised(steady=STEADY)
    service.wait_for_line("steady", "steady")
    service.child("steady").kill()
    service.wait_for_line("steady", "steady", times=2)
    assert service.process.poll() is None


def test_the_grandchildren_of_a_killed_child_end_with_it(supervised):
    service = supervised(with_child=WITH_CHILD)
    service.wait_for_line("with_child", "parent")
    child = service.child("with_child")
    grandchildren = wait_until(child.children, "the grandchild")
    child.kill()
    wait_until_gone(grandchildren)


def test_a_crash_loop_ends_the_service_with_the_last_words(supervised):
    service = supervised(steady=STEADY, broken="import sys; sys.exit('no such disk')")
    _, said = service.process.communicate(timeout=120)
    assert service.process.returncode == 1
    assert "broken died 5 times in a row (exit code 1): no such disk" in said


def test_a_hopeless_child_is_not_started_again(supervised):
    service = supervised(unfit="import sys; print('error: wrong weights', file=sys.stderr); sys.exit(78)")
    _, said = service.process.communicate(timeout=120)
    assert said.strip() == "error: unfit cannot work here: wrong weights"


def test_logs_are_bounded(supervised, tmp_path):
    noisy = "import time\nfor _ in range(70000): print('x' * 100)\nprint('done', flush=True)\ntime.sleep(600)"
    service = supervised(noisy=noisy)
    service.wait_for_line("noisy", "done")
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(60)
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("noisy.log*")}
    assert sizes.keys() == {"noisy.log", "noisy.log.1"}
    assert max(sizes.values()) <= 5_000_000


def test_the_tether_holds_from_the_moment_it_is_asked_for():
    program = (
        f"from med3d_worker.process.tether import die_with_parent; die_with_parent({os.getpid()} + 1); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert "alive" not in done.stdout
