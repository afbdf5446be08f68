"""Which of several NIfTI files of one input is the head: copies count once, masks are none, names may tell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.refusals import Fault
from med3d_pipeline.reading.volume_files.label_images import is_probability_map, probability_fault
from med3d_pipeline.reading.volume_files.nifti import NiftiFile, digest_content, read_nifti
from med3d_pipeline.reasons import Reason, ReviewCode
from med3d_pipeline.study.nifti_names import all_of_freesurfer, named_t1w, other_contrasts, subjects, t1w_first

MOST_LOOKED_AT = 32  # of several files every one is read; more than these are no study of one person


@dataclass(frozen=True, eq=False)
class JudgedFile:
    """A NIfTI file among others. several: why it was not taken although it may be a head, or None."""

    file: NiftiFile
    several: Fault | None = None
    remark: Reason | None = None


def judge_together(files: Sequence[NiftiFile]) -> list[JudgedFile]:
    """Judge the NIfTI files of one input: in what comes back at most one is without a fault.

    Copies (the same content, compressed or not) count once. Masks and label images get label_image, and
    so do maps of probabilities beside a head. Of several heads the one with a name in ``_T1w`` (BIDS) is taken and this
    remarked; the others, else all, get several_images, or no_t1w_series where the names of all tell another contrast.

    Raises InputRefused("several_patients") where BIDS names tell heads of several subjects.
    """
    distinct = list(files) if len(files) < 2 else _without_copies(files)
    if len(distinct) < 2:
        return [JudgedFile(file) for file in distinct]
    judged = _looked_at_together(distinct) if len(distinct) <= MOST_LOOKED_AT else distinct
    heads = [file for file in judged if file.fault is None]
    if len(heads) < 2:
        return [JudgedFile(file) for file in judged]
    _refuse_several_subjects(heads)
    named = named_t1w(heads)
    sentence = f"Of {len(heads)} images the only one that is named _T1w was taken."
    remark = Reason(ReviewCode.CHOSEN_BY_NAME, sentence)
    several = _why_none_is_taken(heads)
    return [JudgedFile(file, remark=remark) if [file] == named else JudgedFile(file, several) for file in judged]


def _without_copies(files: Sequence[NiftiFile]) -> list[NiftiFile]:
    by_content: dict[str, list[NiftiFile]] = {}
    for file in sorted(files, key=lambda file: t1w_first(file.path)):
        by_content.setdefault(digest_content(file.path), []).append(file)
    return [replace(same[0], copies=tuple(copy.path for copy in same[1:])) for same in by_content.values()]


def _looked_at_together(files: Sequence[NiftiFile]) -> list[NiftiFile]:
    looked_at = [_looked_at(file) for file in files]
    if all(is_map for file, is_map in looked_at if file.fault is None):
        return [file for file, _ in looked_at]  # maps alone: whichever a person means
    return [replace(file, fault=probability_fault()) if is_map else file for file, is_map in looked_at]


def _looked_at(file: NiftiFile) -> tuple[NiftiFile, bool]:
    """Read the voxels and give the file the fault that they have; tell whether they are probabilities, too."""
    if file.fault is not None:
        return file, False
    try:
        volume, _ = read_nifti(file)
    except InputRefused as refused:
        return replace(file, fault=Fault(refused.code, refused.reason)), False
    return file, is_probability_map(volume.voxels)


def _refuse_several_subjects(heads: Sequence[NiftiFile]) -> None:
    count = len(subjects(heads))
    if count > 1:
        raise InputRefused(
            "several_patients",
            f"The input holds heads of {count} subjects, by the names of the files. "
            "Send each person's scan on its own.",
        )


def _why_none_is_taken(heads: Sequence[NiftiFile]) -> Fault:
    others = other_contrasts(heads)
    if others:
        return Fault(
            "no_t1w_series",
            f"By the names of the files none of the {len(heads)} images is T1-weighted ({', '.join(others)}). "
            "Send the T1-weighted head scan.",
        )
    if all_of_freesurfer(heads):
        return Fault(
            "several_images",
            f"The input holds {len(heads)} FreeSurfer volumes (.mgz), and nothing tells which one to analyse. "
            "Send one volume: of a FreeSurfer folder mri/orig.mgz.",
        )
    return Fault(
        "several_images",
        f"The input holds {len(heads)} NIfTI images of heads, and nothing tells which one to analyse. "
        "Send one image, or name the T1-weighted one, and no other, as BIDS does (ending in _T1w.nii.gz).",
    )
