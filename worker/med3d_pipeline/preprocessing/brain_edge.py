"""Where a brain ends because the image was set to zero, and not because the brain ends there.

Zeros stand where slices were lost or filled in, where a face was removed, around an oblique field of view, and all
around a brain that was extracted. Above its black (``black_level``) they are exactly 0.
"""

import numpy as np
import numpy.typing as npt

from med3d_pipeline.preprocessing.brain_extraction import Mask
from med3d_pipeline.preprocessing.resampling import coarsen, coarsening_factors, voxels_to_hold
from med3d_pipeline.volume import Volume

Flags = npt.NDArray[np.bool_]

SAMPLING_MM = 2.0
# Blocks of this size that are 0 throughout are no tissue: the skull is thinner or not as dark.
BLOCK_MM = 6.0
MARGIN_MM = 3 * BLOCK_MM
# An image that shows no more than this beyond the brain's surroundings, in units of the brain, is of one that was
# extracted; what was cut off it shows as a flat end.
MOST_BEYOND = 0.05
# Over this length, less than the height of a gyrus, a brain that is whole narrows to nothing.
STEP_MM = 3.0


def zeros_beside_brain_cm2(native: Volume, mask: Mask) -> float:
    """Measure the area of the brain's surface beyond which the image was set to 0, cm2.

    native: above its black. mask: (X, Y, Z) uint8, its brain. Where little is shown beyond the brain it was extracted,
    and only flat ends count: what the brain would still measure one step beyond its last slices.
    """
    image, brain = _sample_around(native, mask)
    coarse = coarsen(brain, BLOCK_MM)
    inside, blank = coarse.voxels > 0.5, coarsen(image, BLOCK_MM).voxels == 0
    if _is_extracted(inside, blank):
        return _flat_ends_cm2(brain)
    return float(sum(face * _bare_along(inside, blank, axis) for axis, face in enumerate(coarse.face_areas_cm2)))


def _is_extracted(inside: Flags, blank: Flags) -> bool:
    """Tell whether the image shows next to nothing farther than two blocks from the brain: no face, neck or scalp.

    A loose mask leaves fluid and skull around a brain that was extracted, and a blur smears it.
    """
    near = inside
    for _ in range(2):
        near = _grown(near)
    return int((~blank & ~near).sum()) <= MOST_BEYOND * int(inside.sum())


def _grown(flags: Flags) -> Flags:
    """Return ``flags`` and their neighbours, corners included."""
    for axis in range(3):
        padded = np.pad(flags, [(1, 1) if other == axis else (0, 0) for other in range(3)])
        moved = np.moveaxis(padded, axis, 0)
        flags = np.moveaxis(moved[:-2] | moved[1:-1] | moved[2:], 0, axis)
    return flags


def _sample_around(native: Volume, mask: Mask) -> tuple[Volume, Volume]:
    """Take one voxel in every SAMPLING_MM or so of the image and of the mask, around the brain."""
    x, y, z = coarsening_factors(native, SAMPLING_MM)
    affine = native.affine @ np.diag([float(x), float(y), float(z), 1.0])
    brain, sides = mask[::x, ::y, ::z], []
    for axis, spacing in enumerate(np.sqrt((affine[:3, :3] ** 2).sum(axis=0))):
        held = np.flatnonzero(brain.any(axis=_others(axis)))
        pad = voxels_to_hold(MARGIN_MM, float(spacing))
        sides.append(slice(max(0, int(held[0]) - pad), int(held[-1]) + 1 + pad) if held.size else slice(None))
    box = tuple(sides)
    image = Volume(voxels=native.voxels[::x, ::y, ::z][box], affine=affine)
    return image, Volume(voxels=brain[box].astype(np.float32), affine=affine)


def _bare_along(inside: Flags, blank: Flags, axis: int) -> int:
    """Count, in both directions of ``axis``, the blocks where the brain ends beside a blank one.

    The block just outside the brain may hold its edge, so the next one may be the blank one.
    """
    beside = 0
    width = [(2, 2) if other == axis else (0, 0) for other in range(3)]
    for step in (1, -1):
        here, empty = (np.moveaxis(np.pad(flags, width), axis, 0)[::step] for flags in (inside, blank))
        beside += int((here[:-2] & ~here[1:-1] & (empty[1:-1] | empty[2:])).sum())
    return beside


def _flat_ends_cm2(brain: Volume) -> float:
    """Extrapolate the area of the brain's slices by one step beyond each of its six ends, and add up what is left.

    Ends at the image's border are measured elsewhere (brain_at_edge_cm2 counts both).
    """
    area = 0.0
    for axis, face_cm2 in enumerate(brain.face_areas_cm2):
        slices = np.count_nonzero(brain.voxels, axis=_others(axis)) * face_cm2
        held = np.flatnonzero(slices)
        step = voxels_to_hold(STEP_MM, brain.spacing_mm[axis])
        for end, deeper in ((held[0], held[0] + step), (held[-1], held[-1] - step)) if held.size else ():
            if held[0] <= deeper <= held[-1] and 0 < end < len(slices) - 1:
                area += max(0.0, float(2 * slices[end] - slices[deeper]))
    return area


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)
