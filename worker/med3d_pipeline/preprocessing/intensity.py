"""Brightness on one scale for every scanner."""

import numpy as np

from med3d_pipeline.preprocessing.spec import IntensitySpec
from med3d_pipeline.volume import Voxels


def scale_robustly(voxels: Voxels, brain_share: Voxels, spec: IntensitySpec) -> Voxels:
    """Map the brain's percentiles in ``voxels`` (X, Y, Z) to 0 and 1, clip, and multiply by ``brain_share``.

    brain_share: how much of each voxel is brain, 0 to 1; the percentiles are taken where it is more than a half. The
    edge fades with it, so a voxel more or less in the mask does not switch a voxel of the grid on or off.

    Raises ValueError when the brain has no contrast.
    """
    inside = voxels[brain_share > 0.5]
    low, high = np.percentile(inside, [spec.low_percentile, spec.high_percentile]) if inside.size else (0.0, 0.0)
    if not high > low:
        raise ValueError("the brain has no contrast")
    scaled = np.clip((voxels - low) / (high - low), 0.0, spec.highest)
    return (scaled * np.clip(brain_share, 0.0, 1.0)).astype(np.float32)
