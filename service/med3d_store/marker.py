"""The marker of a local store: a file with an id, by which a folder that is not the store is told from it."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from med3d_store.errors import StoreAwayError

MARKER = "store.id"
"""Name of the file, and of the object in a store that is elsewhere; it is in no list."""


def read_marker(root: Path) -> str | None:
    """Read the id; None where there is no marker. Raises StoreAwayError."""
    try:
        return (root / MARKER).read_text("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreAwayError("the store cannot be used now") from error


def write_marker(root: Path, identity: str, sync: Callable[[Path], None]) -> None:
    """Leave a marker in the folder, on disk, whole or not at all; the one that is there stays. Raises OSError."""
    if (root / MARKER).exists():
        return
    aside = root / f"{MARKER}.{identity}"
    aside.write_text(identity + "\n")
    aside.chmod(0o600)
    sync(aside)
    with suppress(FileExistsError):  # another process was faster
        os.link(aside, root / MARKER)
    aside.unlink()
    sync(root)


def make_folder(root: Path, sync: Callable[[Path], None]) -> None:
    """Make the store's folder where it is absent, and have it on disk."""
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (root, *made):
        with suppress(PermissionError):  # of a folder that is somebody else's
            sync(folder.parent)
