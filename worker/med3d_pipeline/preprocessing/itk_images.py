"""Between volumes (RAS+, axes X Y Z) and SimpleITK images (LPS+, arrays Z Y X)."""

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from med3d_pipeline.volume import Affine, Volume

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Its own inverse."""


def to_image(voxels: npt.NDArray[np.generic], affine: Affine) -> sitk.Image:
    """Return a SimpleITK image of ``voxels`` (X, Y, Z) that lie where ``affine`` (voxel -> RAS+ mm) says."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    lps = RAS_TO_LPS @ affine
    spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def to_array(image: sitk.Image) -> npt.NDArray[Any]:
    """Return the voxels of ``image`` as (X, Y, Z), C order, of the image's own type."""
    return np.ascontiguousarray(sitk.GetArrayViewFromImage(image).transpose(2, 1, 0))


def affine_of(image: sitk.Image) -> Affine:
    """Return the (4, 4) map from the image's voxels to RAS+ mm."""
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    ras: Affine = RAS_TO_LPS @ lps
    return ras


def image_of(volume: Volume) -> sitk.Image:
    """Return ``volume`` as a float32 SimpleITK image."""
    return to_image(volume.voxels, volume.affine)


def to_transform(ras: Affine) -> sitk.AffineTransform:
    """Return a (4, 4) map of RAS+ mm as a SimpleITK transform of LPS+ mm."""
    lps = RAS_TO_LPS @ ras @ RAS_TO_LPS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def from_transform(transform: sitk.Transform) -> Affine:
    """Return a linear SimpleITK transform of LPS+ mm as a (4, 4) map of RAS+ mm."""
    lps = np.eye(4)
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    lps[:3, 3] = origin
    for axis in range(3):
        lps[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - origin
    ras: Affine = RAS_TO_LPS @ lps @ RAS_TO_LPS
    return ras
