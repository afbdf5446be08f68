"""Files that are somebody else's: read and written to the last byte, whatever their line ends and their encoding."""

import os
from pathlib import Path

from med3d_cli.kept_file import placed


def read_exactly(path: Path) -> str:
    """Read the text with its line ends; bytes that are no UTF-8 come back by ``write_in_place``. Raises OSError."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def write_in_place(path: Path, text: str, mode: int) -> None:
    """Write a file whole or not at all; one that is there keeps its owner and its mode. Raises OSError.

    Where ``path`` is a link, the file that it leads to is written: the link stays.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    _write(target, text, like=target, mode=mode)


def keep_before(path: Path) -> None:
    """Keep the file as it is, beside itself, readable for nobody who could not read it before. Raises OSError."""
    _write(path.with_name(f"{path.name}.before-med3d"), read_exactly(path), like=path.resolve(), mode=0o600)


def _write(path: Path, text: str, *, like: Path, mode: int) -> None:
    """Write beside the place, then into it."""
    held = like.stat() if like.exists() else None
    with placed(path) as aside:
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            if held is not None:
                os.fchown(file.fileno(), held.st_uid, held.st_gid)
            os.fchmod(file.fileno(), mode if held is None else held.st_mode & 0o7777)
            file.write(text.encode("utf-8", "surrogateescape"))
