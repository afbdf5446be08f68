"""What `med3d analyse` is given: each path is a study, but a BIDS dataset is as many as it has T1-weighted scans."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from med3d_cli.errors import CommandError

IMAGES = (".nii.gz", ".nii")
LAYOUTS = ("sub-*/anat/*", "sub-*/ses-*/anat/*", "ses-*/anat/*")
"""Where scans lie in a BIDS dataset, and in the folder of one of its participants."""
VISIT = re.compile(r"(sub-[0-9A-Za-z]+)_(ses-[0-9A-Za-z]+)_")


@dataclass(frozen=True)
class Inputs:
    """The paths to analyse, each by itself. datasets: folders that were opened. passed_over: their other images."""

    paths: tuple[Path, ...]
    datasets: tuple[Path, ...]
    passed_over: int


def list_inputs(given: Sequence[Path]) -> Inputs:
    """Put the T1-weighted scans (``_T1w``) of each BIDS dataset in its place; every other path stands for itself.

    Raises CommandError for a device, a pipe and the like.
    """
    paths: list[Path] = []
    datasets: list[Path] = []
    passed_over = 0
    for path in given:
        if path.exists() and not (path.is_dir() or path.is_file()):
            raise CommandError(f"{path} is neither a file nor a folder", 2)
        images = sorted(_images(path)) if path.is_dir() else []
        scans = [image for image in images if _stem(image).endswith("_T1w")]
        if scans:
            datasets.append(path)
            passed_over += len(images) - len(scans)
        paths += scans or [path]
    return Inputs(tuple(paths), tuple(datasets), passed_over)


def several_visits(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Return the sessions of each person of whom there are several, by how BIDS names them (``sub-01_ses-2_...``)."""
    found: dict[str, set[str]] = {}
    for path in paths:
        named = VISIT.match(path.name)
        if named:
            found.setdefault(named[1], set()).add(named[2])
    return {person: sorted(sessions) for person, sessions in found.items() if len(sessions) > 1}


def fingerprint(path: Path) -> str:
    """Digest the names, sizes and times of the files below ``path``: it changes where one of them does."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            about = file.stat()
            digest.update(os.fsencode(f"{file.relative_to(path).as_posix()}\0{about.st_size}\0{about.st_mtime_ns}\n"))
    return digest.hexdigest()


def short_name(path: Path) -> str:
    """Name an input by its file without what tells the kind, or by its folder; a link by its own name."""
    name = path.resolve().name if path.name in {"", ".."} else path.name
    return next((name.removesuffix(end) for end in IMAGES if name.endswith(end)), name)


def _images(folder: Path) -> Iterator[Path]:
    for layout in LAYOUTS:
        for path in folder.glob(layout):
            if path.name.endswith(IMAGES) and path.name.startswith("sub-") and path.is_file():
                yield path


def _stem(path: Path) -> str:
    return next(path.name.removesuffix(end) for end in IMAGES if path.name.endswith(end))
