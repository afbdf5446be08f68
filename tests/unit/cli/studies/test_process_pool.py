"""A process that dies takes no other's work with it, and none outlives who gave the work."""

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import rig
from med3d_cli.studies.process_pool import in_processes
from rig.processes.pool_work import died, double_or_die, negative, note_and_stay
from rig.processes.waiting import family, wait_until, wait_until_gone


def test_the_others_are_done_and_it_is_said_of_the_one_that_dies_again():
    assert sorted(in_processes(double_or_die, [1, 2, 3], 2, negative)) == [-2, 2, 6]


def test_who_stops_asking_ends_what_is_under_way_and_begins_nothing_more(tmp_path):
    places = [tmp_path / name for name in ("first", *map(str, range(20)))]
    answers = in_processes(note_and_stay, places, 2, died)
    next(answers)
    answers.close()
    assert len(list(tmp_path.iterdir())) < len(places)
    assert multiprocessing.active_children() == []


@contextmanager
def parent_at_work(what, place, at_work):
    environment = os.environ | {"PYTHONPATH": str(Path(rig.__path__[0]).parent)}
    command = [sys.executable, "-m", "rig.processes.pool_work", what, str(place)]
    with subprocess.Popen(command, env=environment, start_new_session=True) as parent:
        wait_until(at_work, "the child at work", 200)
        yield parent


def test_children_end_with_a_parent_that_is_killed(tmp_path):
    place = tmp_path / "stays"
    with parent_at_work("note", place, place.exists) as parent:
        started = family(parent.pid)
        parent.kill()
    assert len(started) > 2
    wait_until_gone(started, 30)


@pytest.mark.parametrize("how", ["the parent is killed", "all are asked to end"])
def test_a_child_that_ends_early_leaves_nothing_unpacked(tmp_path, how):
    with parent_at_work("unpack", tmp_path, lambda: any(tmp_path.glob("*/unpacked"))) as parent:
        started = family(parent.pid)
        if how == "the parent is killed":
            parent.kill()
        else:
            os.killpg(parent.pid, signal.SIGTERM)
        wait_until_gone(started, 60)
    assert list(tmp_path.iterdir()) == []
