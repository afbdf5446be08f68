"""The derivative's folder: what lies where in it, its description, and whether it is ours to write to."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from med3d_cli.bids.dataset import SUFFIX, Scan
from med3d_cli.cohort.bids_derivatives import BIDS_VERSION
from med3d_cli.errors import CommandError

GENERATOR = "infovae-med3d"
SPACE = "MNI152NLin2009aSym"
DESCRIPTION = "dataset_description.json"
IGNORED = "# What no rule of BIDS names: answers, pictures and the group's files\n*_brainage.json\nfigures\ngroup_*\n"
README = """\
Brain age of each T1-weighted head by InfoVAE-Med3D (`med3d bids`): sub-*/[ses-*/]anat/*_desc-med3d_brainage.json has
the answer or the refusal with its reasons, *_desc-brain_mask.nii.gz the brain that was found, figures/ its outline, and
group_brainage.tsv (explained by group_brainage.json) one row for each scan. Research use only; not a medical device.
"""


@dataclass(frozen=True)
class ScanFiles:
    """Where the files of one scan lie, below the derivative."""

    answer: Path
    mask: Path
    tensor: Path
    figure: Path


def files_of(scan: Scan) -> ScanFiles:
    """Name the files of a scan by all entities of its image."""
    folder = Path(scan.participant, *([scan.session] if scan.session else []))
    prefix = scan.name.stem.removesuffix(f"_{SUFFIX}")
    return ScanFiles(
        answer=folder / "anat" / f"{prefix}_desc-med3d_brainage.json",
        mask=folder / "anat" / f"{prefix}_desc-brain_mask.nii.gz",
        tensor=folder / "anat" / f"{prefix}_space-{SPACE}_desc-med3d_{SUFFIX}.nii.gz",
        figure=Path(scan.participant, "figures") / f"{prefix}_desc-brain_{SUFFIX}.png",
    )


def begin_derivative(out: Path, dataset: Path) -> None:
    """Make the folder with its description. Raises CommandError where it is the dataset, or another program's."""
    if out.resolve() == dataset.resolve():
        raise CommandError("OUT is IN; choose another folder, such as IN/derivatives/med3d", 2)
    foreign = "holds another dataset or other files; choose a folder that is empty or of an earlier `med3d bids`"
    described = out / DESCRIPTION
    try:
        if out.is_dir() and any(out.iterdir()) and not _is_ours(described):
            raise CommandError(f"{out} {foreign}", 2)
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / ".bidsignore", IGNORED.encode())
        write_whole(out / "README", README.encode())
        write_json(described, _description(out, dataset))
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from error


def write_json(path: Path, said: Any) -> None:
    """Write JSON whole or not at all."""
    write_whole(path, (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode())


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place when all of it is on the disk."""
    write_by(path, lambda aside: aside.write_bytes(data))


def write_by(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file aside, under the same name, and put it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".med3d-") as folder:
        aside = Path(folder, path.name)
        write(aside)
        aside.replace(path)


def _is_ours(described: Path) -> bool:
    try:
        said = json.loads(described.read_text(encoding="utf-8"))
        return any(one.get("Name") == GENERATOR for one in said["GeneratedBy"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _description(out: Path, dataset: Path) -> dict[str, Any]:
    source = _described(dataset / DESCRIPTION)
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


def _described(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
