"""Where in its array an image shows something: the rest is air and padding, and must decide nothing.

A field of view may be 400 mm wide, or padded to a cube for a network, or have slices set to zero where nothing was
kept. The same head must give the same answer in each of them, and one whose top was zero-filled the same as one whose
top is not in the array.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_pipeline.preprocessing.even_sampling import Box
from med3d_pipeline.preprocessing.resampling import voxels_to_hold
from med3d_pipeline.volume import Volume

# A slice shows something from this area on: a hot voxel or a few of noise do not count.
LEAST_AREA_CM2 = 0.5
# Tissue is brighter than this share of the image's bright voxels, air is not.
TISSUE_SHARE, BRIGHT_PERCENTILE = 0.15, 98.0
MARGIN_MM = 10.0
# Where the first slice that shows something shows this much, the head goes on beyond it: it was cut, and does not end.
CUT_AREA_CM2 = 40.0


@dataclass(frozen=True)
class Content:
    """The part of an image that shows something.

    box: the part of the array to look at, with MARGIN_MM of air around the head. blank_slices_mm: how thick the slices
    are together that hold no signal though there is a head's on both sides of them: lost, or set to zero.
    """

    box: Box
    blank_slices_mm: float


def find_content(image: Volume) -> Content:
    """Find where ``image`` (no signal = 0, see raise_to_black) shows a head.

    The same head is given the same box, however much air or padding lies around it.
    """
    bright = image.voxels[::2, ::2, ::2]
    bright = bright[bright > 0]
    threshold = TISSUE_SHARE * float(np.percentile(bright, BRIGHT_PERCENTILE)) if bright.size else 0.0
    signal, tissue = _areas_cm2(image, 0.0), _areas_cm2(image, threshold)
    pads = [voxels_to_hold(MARGIN_MM, spacing) for spacing in image.spacing_mm]
    reaches = [(_reach(s, pad), _reach(t, pad)) for s, t, pad in zip(signal, tissue, pads, strict=True)]
    x, y, z = (slice(max(s[0], t[0]), min(s[1], t[1])) for s, t in reaches)
    blank_mm = sum(_blank(areas) * spacing for areas, spacing in zip(signal, image.spacing_mm, strict=True))
    return Content((x, y, z), float(blank_mm))


def _areas_cm2(image: Volume, least: float) -> list[npt.NDArray[np.float64]]:
    """Return by axis the area of each slice across it that is brighter than ``least``."""
    # Slab by slab, and 255 slabs at a time: bytes that count so far are added up many at once.
    by_line, by_slab = np.zeros(image.shape[1:], dtype=np.int32), np.empty(image.shape[0], dtype=np.int32)
    for start in range(0, len(by_slab), 255):
        counted = np.zeros(image.shape[1:], dtype=np.uint8)
        for index, slab in enumerate(image.voxels[start : start + 255], start):
            shown = slab > least
            by_slab[index] = np.count_nonzero(shown)
            counted += shown.view(np.uint8)
        by_line += counted
    counts = (by_slab, by_line.sum(axis=1), by_line.sum(axis=0))
    return [count * face_cm2 for count, face_cm2 in zip(counts, image.face_areas_cm2, strict=True)]


def _blank(areas_cm2: npt.NDArray[np.float64]) -> int:
    """Count the slices that show nothing between the first and the last that show as much as a head's."""
    head = np.flatnonzero(areas_cm2 >= CUT_AREA_CM2)
    return int(np.count_nonzero(areas_cm2[head[0] : head[-1]] < LEAST_AREA_CM2)) if head.size else 0


def _reach(areas_cm2: npt.NDArray[np.float64], pad: int) -> tuple[int, int]:
    """Return the first slice to look at and the one behind the last; all where no slice shows anything."""
    shown = np.flatnonzero(areas_cm2 >= LEAST_AREA_CM2)
    if not shown.size:
        return 0, len(areas_cm2)
    first, last = int(shown[0]), int(shown[-1])
    low = first if areas_cm2[first] >= CUT_AREA_CM2 else first - pad
    high = last if areas_cm2[last] >= CUT_AREA_CM2 else last + pad
    return max(0, low), min(len(areas_cm2), high + 1)
