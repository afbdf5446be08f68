"""Boxes of voxels, and what lies inside them."""

import numpy as np
import numpy.typing as npt

from med3d_pipeline.preprocessing.even_sampling import Box
from med3d_pipeline.preprocessing.resampling import voxels_to_hold
from med3d_pipeline.volume import Affine, Volume


def box_around(
    mask: npt.NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    margin_mm: float,
    steps: tuple[int, int, int],
) -> Box:
    """Return the box around a mask plus a margin.

    It begins at a multiple of ``steps`` voxels: what is averaged together must not depend on where the mask ends.
    """
    sides = []
    for axis, (spacing, step) in enumerate(zip(spacing_mm, steps, strict=True)):
        held = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        pad = voxels_to_hold(margin_mm, spacing)
        start = max(0, int(held[0]) - pad) // step * step
        sides.append(slice(int(start), min(mask.shape[axis], int(held[-1]) + 1 + pad)))
    return (sides[0], sides[1], sides[2])


def crop(volume: Volume, box: Box) -> Volume:
    """Return the part of ``volume`` inside ``box``, where it was."""
    return Volume(voxels=volume.voxels[box], affine=move_into_box(volume.affine, box))


def move_into_box(affine: Affine, box: Box) -> Affine:
    """Return ``affine`` (4, 4) of a grid as that of the part of it inside ``box``."""
    begins = affine.copy()
    begins[:3, 3] += affine[:3, :3] @ np.array([side.start for side in box])
    return begins


def count_voxels(box: Box) -> tuple[int, int, int]:
    """Tell how many voxels (X, Y, Z) a box of non-negative sides holds."""
    x, y, z = (side.stop - side.start for side in box)
    return (x, y, z)
