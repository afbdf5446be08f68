"""Private folders for unpacked studies: removed when the work ends, and at the next start when it was cut short."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


class Scratch:
    """Folders below ``root`` (mode 0700). Each is locked by its owner; the kernel lets go when the owner dies.

    Raises PermissionError where ``root`` belongs to somebody else.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if root.stat().st_uid != os.geteuid():
            raise PermissionError("the scratch folder belongs to another user: set MED3D_SCRATCH_DIR")
        root.chmod(0o700)
        self._root = root

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give a fresh empty folder that is gone afterwards, whatever happens inside."""
        with self._alone():
            folder = Path(tempfile.mkdtemp(prefix="study-", dir=self._root))
            lock = _lock(folder / LOCK)
        try:
            content = folder / "content"
            content.mkdir(mode=0o700)
            yield content
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def reclaim(self) -> int:
        """Remove the folders of workers that were killed; how many there were."""
        removed = 0
        with self._alone():
            for folder in self._root.glob("study-*"):
                try:
                    lock = _lock(folder / LOCK, wait=False)
                except BlockingIOError:
                    continue  # its owner lives
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
                removed += 1
        return removed

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else makes or reclaims a folder meanwhile: a new one is not yet locked."""
        lock = _lock(self._root / LOCK)
        try:
            yield
        finally:
            os.close(lock)


def _lock(path: Path, *, wait: bool = True) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
