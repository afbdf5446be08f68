"""Slices that lie in a series but belong to no stack of it: localizers, a reference slice, rests of another volume."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_plane import Plane, SequenceFacts
from med3d_pipeline.reading.refusals import Fault
from med3d_pipeline.reading.stack_geometry import assemble_stack
from med3d_pipeline.study.series_ranking import typical_facts

MIN_STACK = 16
STANDS_OUT = 2.0  # the stack has more than so many times the slices of all that is left out
SAME_DIRECTION = 5e-3  # per direction cosine
MOST_UIDS = 4
"""Of studies or frames of reference; more are a de-identifier's, which gave each slice one of its own."""
SAME_TIMING = 1.25
"""Scanners write one repetition time for all slices of a volume; a factor of more than this is another acquisition."""


@dataclass(frozen=True, eq=False)
class ConsistentStack:
    """The planes that form the volume. ``remark`` says what was left out, and why; None where nothing was.

    fault: why they are not one scan, although they lie as one volume does.
    """

    planes: tuple[Plane, ...]
    remark: str | None = None
    fault: Fault | None = None


def consistent_stack(planes: Sequence[Plane]) -> ConsistentStack:
    """Leave out what keeps the planes from being one volume, where a whole stack stands out without it.

    Where none does, all planes come back, for the geometry to refuse them by name, or with what parts them.
    """
    assembles = _assembles(planes)
    parted = _parted(planes) if assembles else None
    if assembles and parted is None:
        return ConsistentStack(tuple(planes))
    kept, why = list(planes), []
    for key, words in (*_MARKS_OF_A_SCAN, *_DIFFERENCES):
        largest = _largest(kept, key(kept))
        if len(largest) == len(kept):
            continue
        kept = largest
        why.append(words)
        if len(kept) < max(MIN_STACK, STANDS_OUT * (len(planes) - len(kept))):
            break
        if _assembles(kept):
            left_out = len(planes) - len(kept)
            return ConsistentStack(tuple(kept), _remark(left_out, len(planes), why))
    return ConsistentStack(tuple(planes), fault=parted)


def _parted(planes: Sequence[Plane]) -> Fault | None:
    """Return what is wrong with planes that lie as one volume does and are of several scans by their headers."""
    for key, words in _MARKS_OF_A_SCAN:
        counts = Counter(key(planes))
        if len(counts) > 1:
            foreign = len(planes) - counts.most_common(1)[0][1]
            sentence = (
                f"The slices of the series are of more than one scan: {foreign} of {len(planes)} {words} than the "
                "others. Send each scan as a series of its own."
            )
            return Fault("several_acquisitions", sentence)
    return None


def _assembles(planes: Sequence[Plane]) -> bool:
    try:
        assemble_stack(planes)
    except InputRefused:
        return False
    return True


def _largest(planes: list[Plane], keys: Sequence[Hashable]) -> list[Plane]:
    """Return the planes whose key is the most frequent one; between equals the first decides."""
    (key, _), *_ = Counter(keys).most_common(1)
    return [plane for plane, own in zip(planes, keys, strict=True) if own == key]


def _grids(planes: Sequence[Plane]) -> list[Hashable]:
    return [
        (plane.rows, plane.columns, tuple(round(value, 3) for value in plane.pixel_spacing_mm or ()))
        for plane in planes
    ]


def _directions(planes: Sequence[Plane]) -> list[Hashable]:
    """Give each plane's direction the number of the first plane that faces so; None where a plane has no place."""
    found: list[np.ndarray] = []
    numbers: list[Hashable] = []
    for plane in planes:
        if plane.orientation is None or plane.position_mm is None:
            numbers.append(None)
            continue
        own = np.array(plane.orientation)
        same = (index for index, known in enumerate(found) if np.abs(known - own).max() <= SAME_DIRECTION)
        number = next(same, len(found))
        if number == len(found):
            found.append(own)
        numbers.append(number)
    return numbers


def _acquisitions(planes: Sequence[Plane]) -> list[Hashable]:
    return [plane.facts for plane in planes]


def _moments(planes: Sequence[Plane]) -> list[Hashable]:
    return [(plane.temporal, plane.trigger_ms) for plane in planes]


def _studies(planes: Sequence[Plane]) -> list[Hashable]:
    return _few([plane.study_uid for plane in planes])


def _frames_of_reference(planes: Sequence[Plane]) -> list[Hashable]:
    return _few([plane.frame_of_reference_uid for plane in planes])


def _few(uids: list[str]) -> list[Hashable]:
    """Return UIDs of which a series has one each; where one is not stated, that of most."""
    counts = Counter(uid for uid in uids if uid)
    if not 1 < len(counts) <= MOST_UIDS:
        return [""] * len(uids)
    most, _ = counts.most_common(1)[0]
    return [uid or most for uid in uids]


def _timings(planes: Sequence[Plane]) -> list[Hashable]:
    """Tell of each plane whether its echo, repetition and inversion times and its angle are those of most."""
    typical = typical_facts(planes)
    return [_is_timed_as(plane.facts, typical) for plane in planes]


def _is_timed_as(one: SequenceFacts, other: SequenceFacts) -> bool:
    pairs = (
        (one.tr_ms, other.tr_ms), (one.te_ms, other.te_ms), (one.ti_ms, other.ti_ms), (one.flip_deg, other.flip_deg),
    )  # fmt: skip
    return all(a is None or b is None or max(a, b) <= SAME_TIMING * min(a, b) for a, b in pairs)


_MARKS_OF_A_SCAN: tuple[tuple[Callable[[Sequence[Plane]], list[Hashable]], str], ...] = (
    (_studies, "are of another study"),
    (_frames_of_reference, "lie in another frame of reference"),
    (_timings, "were acquired with other times or another angle"),
)
_DIFFERENCES: tuple[tuple[Callable[[Sequence[Plane]], list[Hashable]], str], ...] = (
    (_directions, "face another way"),
    (_grids, "have another matrix or pixel spacing"),
    (_acquisitions, "were acquired with other parameters"),
    (_moments, "are of another acquisition"),
)


def _remark(left_out: int, total: int, why: Sequence[str]) -> str:
    which = "1 slice was" if left_out == 1 else f"{left_out} slices were"
    they = "it does not belong" if left_out == 1 else "they do not belong"
    return (
        f"{which} left out of {total} in the series: {they} to its stack of {total - left_out} "
        f"(slices that {' or '.join(why)}). Send the series without foreign slices to avoid this."
    )
