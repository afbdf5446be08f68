"""Paths as callers of the library give them."""

import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

AnyPath = str | PathLike[str]


def as_path(given: AnyPath) -> Path:
    """Return a path of a text or a path.

    Raises ValueError for an empty text, which as a path would be the folder we are in, TypeError for what is neither.
    """
    named = os.fspath(given)
    if not isinstance(named, str):
        raise TypeError(f"a path is a text or a Path, not {type(named).__name__}")
    if not named:
        raise ValueError("a path is empty, as where a variable is not set")
    return Path(named)


def as_paths(given: AnyPath | Iterable[AnyPath]) -> list[Path]:
    """Return the paths of one or of several. Raises as ``as_path`` does."""
    return [as_path(one) for one in ([given] if isinstance(given, (str, PathLike)) else given)]
