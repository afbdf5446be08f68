"""Voxel arrays turned to RAS: the same head stored with other axes gives the same array."""

import nibabel as nib
import numpy as np
import numpy.typing as npt

from med3d_pipeline.volume import Affine, Volume, in_order


def to_closest_ras(volume: Volume) -> Volume:
    """Return ``volume`` with its axes permuted and flipped so that they run most nearly to the right, front and top.

    No voxel is interpolated: values stay as they are, the affine follows them.
    """
    orientation = nib.orientations.io_orientation(volume.affine)
    if np.array_equal(orientation, [[0, 1], [1, 1], [2, 1]]):
        return volume
    voxels = in_order(nib.orientations.apply_orientation(volume.voxels, orientation))
    affine = volume.affine @ nib.orientations.inv_ornt_aff(orientation, volume.shape)
    return Volume(voxels=voxels, affine=affine)


def as_read(voxels: npt.NDArray[np.uint8], affine: Affine) -> npt.NDArray[np.uint8]:
    """Give voxels of ``to_closest_ras`` the axes of the volume that they come from, whose affine this is."""
    orientation = nib.orientations.io_orientation(affine)
    closest = np.array([[0, 1], [1, 1], [2, 1]])
    back = nib.orientations.ornt_transform(closest, orientation)
    turned: npt.NDArray[np.uint8] = nib.orientations.apply_orientation(voxels, back)
    return turned
