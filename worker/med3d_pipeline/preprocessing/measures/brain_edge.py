"""Where a brain ends because the image was set to zero, and not because the brain ends there.

Zeros stand where slices were lost or filled in, where a face was removed, around an oblique field of view, and all
around a brain that was extracted. Above its black (``black_level``) they are exactly 0.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from med3d_pipeline.preprocessing.connected_parts import Mask
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
# Of a block: where more than this is neither brain nor 0, skull or scalp lies beside the brain.
MOST_SHOWN = 0.25
# Over this length, less than the height of a gyrus, a brain that is whole narrows to nothing.
STEP_MM = 3.0


@dataclass(frozen=True)
class ZerosBesideBrain:
    """The area of a brain's surface, in cm2, beyond which the image was set to zero.

    at_face_cm2: before the middle of the brain and below it, where a face was removed; elsewhere_cm2: all the rest.
    to_border: elsewhere_cm2 counts the ends at the image's border, too, because the brain was extracted.
    """

    at_face_cm2: float = 0.0
    elsewhere_cm2: float = 0.0
    to_border: bool = False


def find_zeros_beside_brain(native: Volume, mask: Mask) -> ZerosBesideBrain:
    """Measure the area of the brain's surface beyond which the image was set to 0.

    native: above its black, axes closest to RAS. mask: (X, Y, Z) uint8, its brain. Where little is shown beyond the
    brain it was extracted, and only flat ends count: what the brain would still measure one step beyond its last
    slices, be they the image's last ones, too (an extracted brain may fill the box around it).
    """
    image, brain = _sample_around(native, mask)
    if not brain.voxels.any():
        return ZerosBesideBrain()
    blocks = _Blocks.of(image, brain)
    if _is_extracted(blocks.inside, blocks.blank):
        return ZerosBesideBrain(elsewhere_cm2=_flat_ends_cm2(brain), to_border=True)
    at_face = _at_face(blocks.inside)
    near_face, elsewhere = 0.0, 0.0
    for axis, face_cm2 in enumerate(blocks.face_areas_cm2):
        bare = _bare_along(blocks, axis)
        near_face += face_cm2 * int(bare[at_face].sum())
        elsewhere += face_cm2 * int(bare[~at_face].sum())
    return ZerosBesideBrain(near_face, elsewhere)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Blocks of BLOCK_MM: mostly brain; 0 throughout; mostly neither, such as skull, scalp or air with noise."""

    inside: Flags
    blank: Flags
    other: Flags
    face_areas_cm2: tuple[float, float, float]

    @classmethod
    def of(cls, image: Volume, brain: Volume) -> Self:
        coarse = coarsen(brain, BLOCK_MM)
        beyond = Volume(((image.voxels > 0) & (brain.voxels == 0)).astype(np.float32), image.affine)
        return cls(
            coarse.voxels > 0.5,
            coarsen(image, BLOCK_MM).voxels == 0,
            coarsen(beyond, BLOCK_MM).voxels > MOST_SHOWN,
            coarse.face_areas_cm2,
        )


def _at_face(inside: Flags) -> Flags:
    """Blacken blocks before and below the middle of the box around the brain."""
    middles = []
    for axis in (1, 2):
        held = np.flatnonzero(inside.any(axis=_others(axis)))
        middles.append((held[0] + held[-1]) / 2 if held.size else 0.0)
    flags = np.zeros(inside.shape, dtype=np.bool_)
    flags[:, int(middles[0]) + 1 :, : max(0, int(np.ceil(middles[1])))] = True
    return flags


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


def _bare_along(blocks: _Blocks, axis: int) -> npt.NDArray[np.intp]:
    """Count at each block of the brain in how many directions along ``axis``, 0 to 2, it ends beside a blank one.

    The block just outside the brain may hold its edge, so the next one may be the blank one; one that shows skull or
    scalp in between says that the brain had ended before.
    """
    width = [(2, 2) if other == axis else (0, 0) for other in range(3)]
    counts = np.zeros(blocks.inside.shape, dtype=np.intp)
    for step in (1, -1):
        brain, blank, other = (
            np.moveaxis(np.pad(flags, width), axis, 0)[::step] for flags in (blocks.inside, blocks.blank, blocks.other)
        )
        ends = brain[2:-2] & ~brain[3:-1] & (blank[3:-1] | (blank[4:] & ~other[3:-1]))
        counts += np.moveaxis(ends[::step], 0, axis)
    return counts


def _flat_ends_cm2(brain: Volume) -> float:
    """Extrapolate the area of the brain's slices by one step beyond each of its six ends, and add up what is left."""
    area = 0.0
    for axis, face_cm2 in enumerate(brain.face_areas_cm2):
        slices = np.count_nonzero(brain.voxels, axis=_others(axis)) * face_cm2
        held = np.flatnonzero(slices)
        step = voxels_to_hold(STEP_MM, brain.spacing_mm[axis])
        for end, deeper in ((held[0], held[0] + step), (held[-1], held[-1] - step)) if held.size else ():
            if held[0] <= deeper <= held[-1]:
                area += max(0.0, float(2 * slices[end] - slices[deeper]))
    return area


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)
