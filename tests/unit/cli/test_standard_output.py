"""What is printed to a full disk ends in one line, and to a pipe that nobody reads in none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


def run_into(stdout, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "med3d_cli", *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [("settings",), ("settings", "--json"), ("--version",), ("figure", "--help"), ()])
def test_a_full_disk_is_told_in_one_line(arguments):
    with FULL.open("w") as full:
        ended = run_into(full, *arguments)
    said = "error: what is printed cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, said)


def test_a_closed_pipe_is_told_in_none():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = run_into(writing, "settings")
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.parametrize(
    "words",
    [
        ("analyse", ".", "--csv", "n" * 300),
        ("figure", __file__, f"{'n' * 300}.svg"),
        ("analyse", ".", "--html", "n" * 300),
    ],
)
def test_a_name_that_is_too_long_is_told_in_one_line(words):
    ended = run_into(subprocess.DEVNULL, *words)
    assert ended.returncode in (1, 2)
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
