"""The derivative's folder: what lies where in it, its description, and whether it is ours to write to."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from med3d_cli.bids.dataset import PROCESSED_IMAGE, SUFFIX, Dataset, Scan
from med3d_cli.cohort.bids_derivatives import BIDS_VERSION
from med3d_cli.errors import CommandError
from med3d_cli.reports.methods import SPACE
from med3d_contract.json_files import read_object

GENERATOR = "infovae-med3d"
DESCRIPTION = "dataset_description.json"
ASIDE = ".med3d-"
"""How the folders begin in which files are made before they are put in place."""
LEFTOVER_S = 3600.0
IGNORED = """\
# What no rule of BIDS names: answers, pictures, pages and the group's files
*_brainage.json
figures
*.html
group_*
"""
README = """\
Brain age of each T1-weighted head by InfoVAE-Med3D (`med3d bids`): sub-*/[ses-*/]anat/*_desc-med3d_brainage.json has
the answer or the refusal with its reasons, *_desc-brain_mask.nii.gz the brain that was found, figures/ its outline,
sub-*_T1w.html all of it for people, and group_brainage.tsv (explained by group_brainage.json) one row for each scan,
with group_brainage.html for people. Research use only; not a medical device.
"""


@dataclass(frozen=True)
class ScanFiles:
    """Where the files of one scan lie, below the derivative."""

    answer: Path
    mask: Path
    tensor: Path
    figure: Path
    page: Path


def files_of(scan: Scan) -> ScanFiles:
    """Name the files of a scan by all entities of its image."""
    folder = Path(scan.participant, *([scan.session] if scan.session else []))
    prefix = scan.name.stem.removesuffix(f"_{SUFFIX}")
    return ScanFiles(
        answer=folder / "anat" / f"{prefix}_desc-med3d_brainage.json",
        mask=folder / "anat" / f"{prefix}_desc-brain_mask.nii.gz",
        tensor=folder / "anat" / f"{prefix}_space-{SPACE}_desc-med3d_{SUFFIX}.nii.gz",
        figure=Path(scan.participant, "figures") / f"{prefix}_desc-brain_{SUFFIX}.png",
        page=Path(f"{scan.name.stem}.html"),
    )


def begin_derivative(out: Path, dataset: Path) -> None:
    """Make the folder with its description. Raises CommandError where it is the dataset's own, or another program's."""
    _require_own_place(out.resolve(), dataset.resolve())
    foreign = "holds another dataset or other files; choose a folder that is empty or of an earlier `med3d bids`"
    described = out / DESCRIPTION
    try:
        if out.is_dir() and any(map(_is_kept, out.iterdir())) and not _is_ours(described):
            raise CommandError(f"{out} {foreign}", 2)
        out.mkdir(parents=True, exist_ok=True)
        write_json(described, _description(out, dataset))  # first: by it the folder is known as ours after any end
        write_whole(out / ".bidsignore", IGNORED.encode())
        write_whole(out / "README", README.encode())
        _take_away_leftovers(out)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from error


def holds_derivatives(dataset: Dataset) -> bool:
    """Tell whether a dataset without scans says that it is made of another one, or has images that were processed."""
    told = (read_object(dataset.root / DESCRIPTION) or {}).get("DatasetType") == "derivative"
    return not dataset.scans and (told or PROCESSED_IMAGE in dataset.passed_over)


def _require_own_place(out: Path, dataset: Path) -> None:
    if out == dataset:
        raise CommandError("OUT is IN; choose another folder, such as IN/derivatives/med3d", 2)
    inside = out.relative_to(dataset).parts if out.is_relative_to(dataset) else ("",)
    if inside[0].startswith("sub-") or inside[0] == "sourcedata":
        raise CommandError("OUT lies among the images of IN; choose another folder, such as IN/derivatives/med3d", 2)


def _is_kept(path: Path) -> bool:
    return not path.name.startswith(ASIDE)


def _take_away_leftovers(out: Path) -> None:
    """Take away what processes that were killed while they wrote have left; what is young may be of one at work."""
    for pattern in (f"{ASIDE}*", f"sub-*/*/{ASIDE}*", f"sub-*/*/*/{ASIDE}*"):
        for folder in out.glob(pattern):
            if time.time() - folder.stat().st_mtime > LEFTOVER_S:
                shutil.rmtree(folder, ignore_errors=True)


def write_json(path: Path, said: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(said, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text whole; what UTF-8 has no bytes for, as names on a disk may hold, becomes a question mark."""
    write_whole(path, text.encode(errors="replace"))


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place when all of it is on the disk."""
    write_by(path, lambda aside: aside.write_bytes(data))


def write_by(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file aside, under the same name, and put it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=ASIDE) as folder:
        aside = Path(folder, path.name)
        write(aside)
        aside.replace(path)


def _is_ours(described: Path) -> bool:
    generators = (read_object(described) or {}).get("GeneratedBy")
    named = generators if isinstance(generators, list) else []
    return any(isinstance(one, dict) and one.get("Name") == GENERATOR for one in named)


def _description(out: Path, dataset: Path) -> dict[str, Any]:
    source = read_object(dataset / DESCRIPTION) or {}
    there = Path(os.path.relpath(dataset.resolve(), out.resolve())).as_posix()
    doi = source.get("DatasetDOI")
    return {
        "Name": "InfoVAE-Med3D: brain age",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": source["License"] if isinstance(source.get("License"), str) else "n/a",
        "GeneratedBy": [
            {"Name": GENERATOR, "Version": version(GENERATOR), "Description": "med3d bids: brain age with intervals"}
        ],
        "DatasetLinks": {"raw": there},
        "SourceDatasets": [{"DOI": doi} if isinstance(doi, str) else {"URL": there}],
    }
