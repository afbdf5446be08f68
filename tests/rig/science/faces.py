"""Whether a head still shows a face: skin before the front of the brain, told without looking for one."""

import numpy as np
import SimpleITK as sitk

from med3d_pipeline.volume import Volume

BRIGHT = 0.2
"""Of the brain's median: skin and fat are brighter, air is darker."""
SKULL_MM = 8.0
"""Nearer to the brain lie its meninges and bone."""


def skin_before_brain(head: Volume, brain_mask: np.ndarray) -> float:
    """The share of lines of sight to the front of the brain on which something bright lies; axes closest to RAS.

    Looked at are the lines, from the front along the second axis, that meet the brain 45 mm before its middle; what lies
    within SKULL_MM of the brain on whichever side is no skin.
    """
    brain = brain_mask > 0
    steps = head.shape[1] - np.argmax(brain[:, ::-1], axis=1)  # one voxel before the foremost of the brain
    middle = np.argwhere(brain)[:, 1].mean()
    faces_front = brain.any(axis=1) & (steps > middle + 45.0 / head.spacing_mm[1])
    ahead = np.arange(head.shape[1])[None, :, None] >= steps[:, None, :]
    beyond_mm = sitk.GetImageFromArray(np.ascontiguousarray(brain.transpose(2, 1, 0)).astype(np.uint8))
    beyond_mm.SetSpacing(head.spacing_mm)
    far = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(beyond_mm, squaredDistance=False, useImageSpacing=True))
    ahead &= far.transpose(2, 1, 0) > SKULL_MM
    bright = head.voxels > BRIGHT * float(np.median(head.voxels[brain]))
    return float((bright & ahead).any(axis=1)[faces_front].mean())
