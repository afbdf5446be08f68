"""What the names of NIfTI files tell, as BIDS has them: whose head it is, and of which contrast."""

import re
from collections.abc import Sequence
from pathlib import Path

from med3d_pipeline.reading.volume_files.nifti import NiftiFile

# what a step of processing adds behind the suffix, and leaves the contrast and the place as they were
_TAGS = r"(?:[_-](?:defaced?|brain|n4|biascorr|desc-(?!\w*mask)[a-z0-9]+))"
_FORMAT = r"\.(?:nii|nii\.gz|mgz|mgh)$"
_T1W = re.compile(rf"[_-]t1w{_FORMAT}", re.IGNORECASE)
_T1W_TAGGED = re.compile(rf"[_-]t1w{_TAGS}+{_FORMAT}", re.IGNORECASE)
_OTHERS = (
    *("T2w", "PDw", "PDT2", "T2star", "T2starw", "FLAIR", "inplaneT2", "angio", "swi"),
    *("bold", "sbref", "dwi", "epi", "asl", "m0scan"),
)
_OTHER = re.compile(rf"^(?!.*t1).*[_-]({'|'.join(_OTHERS)}){_TAGS}*{_FORMAT}", re.IGNORECASE)
_SUBJECT = re.compile(r"(?:^|[/_])sub-([A-Za-z0-9]+)")


def t1w_first(path: Path) -> int:
    """Return a sort key: 0 for a name that ends in _T1w, 1 for one in which only a known tag follows, else 2."""
    return 0 if _T1W.search(path.name) else 1 if _T1W_TAGGED.search(path.name) else 2


def named_t1w(files: Sequence[NiftiFile]) -> list[NiftiFile]:
    """Return the files whose names end in _T1w; where there is none, those in which only a known tag follows."""
    plain = [file for file in files if t1w_first(file.path) == 0]
    return plain or [file for file in files if t1w_first(file.path) == 1]


def other_contrasts(files: Sequence[NiftiFile]) -> list[str]:
    """Return the suffixes of the files' names where each of them is of another contrast than T1w, else nothing.

    A name that speaks of T1 as well, such as of an image brought into its space, tells nothing.
    """
    found = [_OTHER.search(file.path.name) for file in files]
    spelt = {suffix.casefold(): suffix for suffix in _OTHERS}
    return sorted({spelt[match[1].casefold()] for match in found if match}) if all(found) else []


def subjects(files: Sequence[NiftiFile]) -> set[str]:
    """Return the subject labels in the files' paths, one of each path that has any, in lower case."""
    return {found[-1].casefold() for file in files if (found := _SUBJECT.findall(file.path.as_posix()))}


def all_of_freesurfer(files: Sequence[NiftiFile]) -> bool:
    """Tell whether all files are FreeSurfer's (.mgz, .mgh)."""
    return all(file.path.suffix.lower() in {".mgz", ".mgh"} for file in files)
