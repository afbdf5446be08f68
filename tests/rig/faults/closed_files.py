"""Files and folders that we may not read, for root may read all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that everyone may enter; those that tests have are closed to others."""
    with tempfile.TemporaryDirectory(prefix="med3d-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def closed(path: Path) -> Iterator[None]:
    """Close ``path`` to us, who are root no more meanwhile."""
    is_root = os.geteuid() == 0
    mode = path.stat().st_mode & 0o7777
    path.chmod(0)
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        path.chmod(mode)
