"""Voxel arrays turned to RAS: the same head stored with other axes gives the same array."""

import nibabel as nib
import numpy as np

from med3d_pipeline.volume import Volume, in_order


def to_closest_ras(volume: Volume) -> Volume:
    """``volume`` with its axes permuted and flipped so that they run most nearly to the right, front and top.

    No voxel is interpolated: values stay as they are, the affine follows them.
    """
    orientation = nib.orientations.io_orientation(volume.affine)
    if np.array_equal(orientation, [[0, 1], [1, 1], [2, 1]]):
        return volume
    voxels = in_order(nib.orientations.apply_orientation(volume.voxels, orientation))
    affine = volume.affine @ nib.orientations.inv_ornt_aff(orientation, volume.shape)
    return Volume(voxels=voxels, affine=affine)
