"""One try at parsing a study. It counts against the files while they are parsed, until its courier says how it ended.

A courier that is killed says nothing, and one that is stopped or starved says nothing for long. The kernel tells them
apart: a lock on a file in the spool goes with its process and stays while that only sleeps.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SUFFIX = "trying"


class Try:
    """A lock beside the other files of a claim. ``is_counted``: the row's ``working_tries`` counts it now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self.is_counted = False

    def __enter__(self) -> Self:
        """Show that this courier lives."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(OSError):  # a spool without locks: who sleeps there is taken for lost, as from another machine
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show no more."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def living_tries(spool_dir: Path, study_id: str) -> Iterator[Path]:
    """Give the files of couriers on this spool that took the study and live, awake or not."""
    return (path for path in spool_dir.glob(f"{study_id}.*.{SUFFIX}") if _is_held(path))


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:  # it has ended meanwhile
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False
