"""Which of several NIfTI files of one input is the head: copies count once, masks are none, names may tell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.nifti import NiftiFile, digest_content, read_nifti
from med3d_pipeline.reading.refusals import Fault
from med3d_pipeline.reasons import Reason, ReviewCode

MOST_LOOKED_AT = 32  # of several files every one is read; more than these are no study of one person
_T1W_NAME = re.compile(r"[_-]t1w\.(nii|nii\.gz|mgz|mgh)$", re.IGNORECASE)
_SUBJECT = re.compile(r"(?:^|[/_])sub-([A-Za-z0-9]+)")


@dataclass(frozen=True, eq=False)
class JudgedFile:
    """A NIfTI file among others. several: why it was not taken although it may be a head, or None."""

    file: NiftiFile
    several: Fault | None = None
    remark: Reason | None = None


def judge_together(files: Sequence[NiftiFile]) -> list[JudgedFile]:
    """Judge the NIfTI files of one input: in what comes back at most one is without a fault.

    Copies (the same content, compressed or not) count once. Masks and label images get label_image. Of several heads
    the one with a name in ``_T1w`` (BIDS) is taken and this remarked; the others, else all, get several_images.

    Raises InputRefused("several_patients") where BIDS names tell heads of several subjects.
    """
    distinct = list(files) if len(files) < 2 else _without_copies(files)
    if len(distinct) < 2:
        return [JudgedFile(file) for file in distinct]
    judged = [_looked_at(file) for file in distinct] if len(distinct) <= MOST_LOOKED_AT else distinct
    heads = [file for file in judged if file.fault is None]
    if len(heads) < 2:
        return [JudgedFile(file) for file in judged]
    _refuse_several_subjects(heads)
    named = [file for file in heads if _T1W_NAME.search(file.path.name)]
    sentence = f"Of {len(heads)} images the one whose name ends in _T1w was taken."
    remark = Reason(ReviewCode.CHOSEN_BY_NAME, sentence)
    return [
        JudgedFile(file, remark=remark) if [file] == named else JudgedFile(file, several=_one_of_several(len(heads)))
        for file in judged
    ]


def _without_copies(files: Sequence[NiftiFile]) -> list[NiftiFile]:
    by_content: dict[str, list[NiftiFile]] = {}
    for file in sorted(files, key=lambda file: not _T1W_NAME.search(file.path.name)):
        by_content.setdefault(digest_content(file.path), []).append(file)
    return [replace(same[0], copies=tuple(copy.path for copy in same[1:])) for same in by_content.values()]


def _looked_at(file: NiftiFile) -> NiftiFile:
    """Read the voxels and give the file the fault that they have."""
    if file.fault is not None:
        return file
    try:
        read_nifti(file)
    except InputRefused as refused:
        return replace(file, fault=Fault(refused.code, refused.reason))
    return file


def _refuse_several_subjects(heads: Sequence[NiftiFile]) -> None:
    subjects = {found[-1].casefold() for file in heads if (found := _SUBJECT.findall(file.path.as_posix()))}
    if len(subjects) > 1:
        raise InputRefused(
            "several_patients",
            f"The input holds heads of {len(subjects)} subjects, by the names of the files. "
            "Send each person's scan on its own.",
        )


def _one_of_several(heads: int) -> Fault:
    return Fault(
        "several_images",
        f"The input holds {heads} NIfTI images of heads, and nothing tells which one to analyse. "
        "Send one image, or name exactly one of them as BIDS does (ending in _T1w.nii.gz).",
    )
