"""The folder of a bundle that is being made: it holds nothing before, and nothing after a making that failed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ReleaseError(Exception):
    """The bundle cannot be released; the message says why."""


@contextmanager
def new_bundle(folder: Path) -> Iterator[None]:
    """Have a bundle made in ``folder``, which must not exist or be empty, and is so again where that fails.

    A bundle that was not checked to its end must not be mistaken for one that was. Raises ReleaseError.
    """
    there = folder.exists()
    if there and (not folder.is_dir() or any(folder.iterdir())):
        raise ReleaseError(f"{folder}, the folder for the bundle, is not empty")
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if there:
            folder.mkdir(exist_ok=True)
        raise
