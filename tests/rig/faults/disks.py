"""Disks that are small, full or read-only: file systems of the tests' own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.processes.waiting import wait_until


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Mount a file system on ``folder``; whether this machine let it be."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)


def make_read_only(folder: Path, *, read_only: bool = True) -> None:
    """Mount again what ``small_disk`` mounted, as soon as nothing is open for writing on it."""
    mount = ["mount", "-o", f"remount,{'ro' if read_only else 'rw'}", str(folder)]
    wait_until(lambda: subprocess.run(mount, capture_output=True, check=False).returncode == 0, "the mounting")


def fill(path: Path) -> None:
    """Write on until nothing more fits."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
