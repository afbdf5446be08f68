"""Which image of a folder of NIfTI files is sent: the one named _T1w, as `med3d analyse` would choose.

The client knows nothing of the pipeline; a test holds the two rules together.
"""

import re
from pathlib import Path

from med3d_client.study_stream import NIFTI_SUFFIXES, study_files

BESIDE_IMAGES = (".json", ".tsv", ".txt", ".md", ".bval", ".bvec")
_TAGS = r"(?:[_-](?:defaced?|brain|n4|biascorr|desc-(?!\w*mask)[a-z0-9]+))"
_FORMAT = r"\.nii(?:\.gz)?$"
_T1W = re.compile(rf"[_-]t1w{_FORMAT}", re.IGNORECASE)
_T1W_TAGGED = re.compile(rf"[_-]t1w{_TAGS}+{_FORMAT}", re.IGNORECASE)
_SUBJECT = re.compile(r"(?:^|[/_])sub-([A-Za-z0-9]+)")


def image_named_t1w(folder: Path) -> Path | None:
    """Return the only file named ``_T1w`` of several NIfTI files and nothing but their notes, else None.

    None also where the names tell more than one subject: the service takes one volume, and that is a person's choice.
    """
    files = study_files(folder)
    images = [file for file in files if file.name.lower().endswith(NIFTI_SUFFIXES)]
    others = [file for file in files if file not in images]
    if len(images) < 2 or any(file.suffix.lower() not in BESIDE_IMAGES for file in others):
        return None
    subjects = {found[-1].casefold() for file in images if (found := _SUBJECT.findall(file.as_posix()))}
    plain = [file for file in images if _T1W.search(file.name)]
    named = plain or [file for file in images if _T1W_TAGGED.search(file.name)]
    return named[0] if len(named) == 1 and len(subjects) < 2 else None
