"""A folder that studies are put into: taken out by renaming, sent, and kept as done or refused with a note beside each.

``DIR/NAME`` (a file or a folder: one study) -> ``DIR/.taken/NAME`` while it is sent -> ``DIR/done/NAME`` or
``DIR/refused/NAME``. A crash at any moment leaves it in one of these places; what lies in ``.taken`` is sent again,
which is harmless, for the service knows a study that it has.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from med3d_cli.errors import CommandError
from med3d_cli.kept_file import placed

TAKEN, DONE, REFUSED = ".taken", "done", "refused"
OURS = frozenset({TAKEN, DONE, REFUSED})
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")
_LOCK = ".watch.lock"


@dataclass(frozen=True)
class _Seen:
    """What an entry looked like, and since when it has looked so."""

    look: tuple[int, int, int]  # files, bytes, newest change (ns)
    since_s: float


class WatchedFolder:
    """Knows what has arrived in full: what is as it was for ``quiet_s``, or for 0 what is there at all."""

    def __init__(self, root: Path, quiet_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._quiet_s = quiet_s
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    @property
    def waits(self) -> bool:
        """Whether the last look found something that may still be growing."""
        return bool(self._seen)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folders, and keep a second watcher away. Raises CommandError."""
        try:
            for name in OURS:
                (self._root / name).mkdir(mode=0o700, exist_ok=True)
                if (self._root / name).is_symlink():
                    raise CommandError(
                        f"{self._root / name} is a link: what is sent would be kept elsewhere; remove it"
                    )
            descriptor = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise CommandError(f"{self._root} cannot be watched: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise CommandError(f"{self._root} is being watched already") from error
        try:
            yield
        finally:
            os.close(descriptor)

    def take(self) -> list[Path]:
        """Take what has arrived in full out of senders' reach; returns it and what was taken before a crash."""
        arrived = {path.name: path for path in self._root.iterdir() if _is_study(path)}
        self._seen = {name: seen for name, seen in self._seen.items() if name in arrived}
        for name, path in sorted(arrived.items()):
            if self._is_whole(name, path):
                path.rename(_free(self._root / TAKEN, name))
                del self._seen[name]
        return sorted((self._root / TAKEN).iterdir())

    def _is_whole(self, name: str, path: Path) -> bool:
        look, now = _look(path), self._clock()
        if look is None:  # something of it went away while we looked
            return False
        before = self._seen.get(name)
        if before is None or before.look != look:
            before = self._seen[name] = _Seen(look, now)
        return now - before.since_s >= self._quiet_s

    def done(self, taken: Path, note: dict[str, str]) -> None:
        """Keep a study that was sent."""
        self._keep(taken, DONE, note)

    def refused(self, taken: Path, note: dict[str, str]) -> None:
        """Keep what is no study that the service takes."""
        self._keep(taken, REFUSED, note)

    def _keep(self, taken: Path, where: str, note: dict[str, str]) -> None:
        kept = _free(self._root / where, taken.name)
        written = kept.with_name(f"{kept.name}.json")
        with placed(written) as aside:  # first the note: after a crash in between it is written once more
            aside.write_text(json.dumps(note, indent=1) + "\n")
        taken.rename(kept)


def holds_links(taken: Path) -> bool:
    """Tell whether a study leads elsewhere: whoever may put it here need not be allowed to read what we can read."""
    return any(found.is_symlink() for found in (taken, *taken.rglob("*")))


def _is_study(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.name in OURS or path.name.lower().endswith(UNFINISHED)
    return not hidden and not path.is_symlink() and (path.is_file() or path.is_dir())


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        states = [found.lstat() for found in ([path, *path.rglob("*")] if path.is_dir() else [path])]
    except OSError:
        return None
    return len(states), sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)


def _free(folder: Path, name: str) -> Path:
    """Return ``folder/name``, or the first of ``2-name``, ``3-name`` ...

    That is free: the suffix tells what a file is.
    """
    free, number = folder / name, 1
    while free.exists():
        number += 1
        free = folder / f"{number}-{name}"
    return free
