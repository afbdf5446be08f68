"""Ghosts: fainter copies of a head beside it, as motion, pulsation and faulty receivers leave them.

They lie along the axis on which the scanner encodes phase, which image files seldom state, at a distance of their own
(R. Henkelman, M. Bronskill, "Artifacts in magnetic resonance imaging", Reviews of Magnetic Resonance in Medicine 2
(1987) 1-126). Over the head itself they cannot be told from it; beside it there should be nothing.
"""

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from med3d_pipeline.preprocessing.connected_parts import Mask
from med3d_pipeline.preprocessing.itk_images import to_array, to_image
from med3d_pipeline.preprocessing.resampling import block_means, coarsening_factors
from med3d_pipeline.volume import Volume, Voxels

Flags = npt.NDArray[np.bool_]

GRID_MM = 6.0
HEAD_MM = 30.0
"""Farther than this from the brain, beside its upper half, lies air: scalp and ears end before."""
LEAST_ML = 30.0
"""Of air that a ghost must reach into: less of it may be all skin."""


def measure_ghost(native: Volume, mask: Mask) -> float:
    """Measure the brightest ghost in the air, as a share of the brain's brightness; 0 where there is too little air.

    native: above its black, axes closest to RAS. mask: (X, Y, Z) uint8, its brain. The brain is moved along each axis;
    what lies where it then reaches into the air is held against the air that no part of the moved head reaches.
    """
    factors = coarsening_factors(native, GRID_MM)
    voxels, brain = block_means(native.voxels, factors), block_means(mask, factors) > 0.5
    if not brain.any():
        return 0.0
    spacing = np.multiply(native.spacing_mm, factors)
    shape = to_image(brain.view(np.uint8), np.diag([*spacing, 1.0]))
    head = to_array(sitk.DanielssonDistanceMap(shape, True, False, True)) <= HEAD_MM  # mm to the next voxel of brain
    air = ~head
    air[:, :, : round(float(np.argwhere(brain)[:, 2].mean()))] = False  # below are the face and the neck
    least = max(1, round(LEAST_ML * 1000 / float(spacing.prod())))
    ghosts = [
        _brighter(voxels, air & np.roll(brain, by, axis), air & ~np.roll(head, by, axis), least)
        for axis, size in enumerate(voxels.shape)
        for by in range(1, size)
    ]
    return max([0.0, *ghosts]) / max(float(np.median(voxels[brain])), float(np.finfo(np.float32).tiny))


def _brighter(voxels: Voxels, inside: Flags, outside: Flags, least: int) -> float:
    """Tell how much brighter ``voxels`` are inside than outside, by their medians.

    0 where either is too small to tell.
    """
    if min(np.count_nonzero(inside), np.count_nonzero(outside)) < least:
        return 0.0
    return float(np.median(voxels[inside]) - np.median(voxels[outside]))
