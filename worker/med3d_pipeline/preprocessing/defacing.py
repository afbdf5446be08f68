"""A head without its face, for what leaves: all that lies before and below the front of the brain is black.

What is taken is said in the template's space, where a face always lies in one place, and brought to the head by the
alignment that its tensor was made with. No voxel within MARGIN_MM of the brain is touched, wherever the alignment puts
the face.
"""

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from med3d_pipeline.preprocessing.connected_parts import Mask
from med3d_pipeline.volume import Affine, Volume

Flags = npt.NDArray[np.bool_]

MARGIN_MM = 8.0
"""Meninges and skull stay: at 6 mm one of six ages moved by 1.6 years, at 10 mm skin is left."""
FACE_BEGINS_MM, JAW_BEGINS_MM = 25.0, 10.0
"""In the template, before the anterior commissure: eyes, nose, mouth, chin and forehead lie farther, ears behind."""
JAW_TOP_MM = -30.0
"""Below it, seen from the anterior commissure, cheeks and jaw begin farther back."""


def deface(head: Volume, brain_mask: Mask, template_to_native: Affine | None) -> Volume:
    """Blacken the face of ``head`` (axes closest to RAS), but nothing near ``brain_mask`` (X, Y, Z) uint8.

    template_to_native: of its alignment; None for a head that was not aligned, whose face is taken to lie before and
    below the middle of its brain. Without any brain in the mask nothing of the head is left.
    """
    black = float(np.nanmin(head.voxels))
    if not brain_mask.any():
        return Volume(np.full(head.shape, black, dtype=np.float32), head.affine)
    voxels = head.voxels.copy()
    voxels[_face(head, brain_mask, template_to_native) & ~_near(head, brain_mask)] = black
    return Volume(voxels, head.affine)


def _face(head: Volume, brain_mask: Mask, template_to_native: Affine | None) -> Flags:
    """Return the flags of the voxels that lie where faces do."""
    if template_to_native is None:
        middle = np.argwhere(brain_mask).mean(axis=0)
        to_template = head.affine[:3, :3] @ np.c_[np.eye(3), -middle]
    else:
        to_template = (np.linalg.inv(template_to_native) @ head.affine)[:3]
    front_mm, top_mm = (_along(axis, head.shape) for axis in to_template[1:])
    return np.asarray(front_mm > np.where(top_mm < JAW_TOP_MM, JAW_BEGINS_MM, FACE_BEGINS_MM))


def _along(axis: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Tell where each voxel of a grid lies along one axis of another space, in millimetres."""
    i, j, k = (step * np.arange(count) for step, count in zip(axis[:3], shape, strict=True))
    return np.asarray(i[:, None, None] + j[:, None] + (k + axis[3]))


def _near(head: Volume, brain_mask: Mask) -> Flags:
    """Return the flags of the voxels within MARGIN_MM of the brain."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(brain_mask.transpose(2, 1, 0)))
    image.SetSpacing(head.spacing_mm)
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayViewFromImage(distance).transpose(2, 1, 0) <= MARGIN_MM)
