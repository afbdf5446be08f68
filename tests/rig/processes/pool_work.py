"""Work for processes of a pool, which must be able to import it."""

import os
import sys
import tempfile
import threading
from pathlib import Path

from med3d_cli.studies.process_pool import in_processes


def double_or_die(number: int) -> int:
    """Double a number; whoever is given 2 dies."""
    if number == 2:
        os._exit(9)
    return 2 * number


def negative(number: int) -> int:
    """Say which number it was."""
    return -number


def note_and_stay(place: Path) -> int:
    """Write this process's id; never come to an end, but at ``first``."""
    part = place.with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.rename(place)
    if place.name != "first":
        threading.Event().wait()
    return os.getpid()


def stay_in_a_folder(place: Path) -> int:
    """Never come to an end, with something unpacked in a temporary folder in ``place``."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        (Path(folder) / "unpacked").touch()
        threading.Event().wait()
    return 0


def died(_place: Path) -> int:
    """Stand for what died."""
    return 0


if __name__ == "__main__":
    do = {"note": note_and_stay, "unpack": stay_in_a_folder}[sys.argv[1]]
    list(in_processes(do, [Path(sys.argv[2])], 2, died))
