"""Brightness on one scale for every scanner."""

import numpy as np
import numpy.typing as npt

from med3d_pipeline.spec import IntensitySpec
from med3d_pipeline.volume import Voxels


def scale_robustly(voxels: Voxels, brain: npt.NDArray[np.bool_], spec: IntensitySpec) -> Voxels:
    """``voxels`` (X, Y, Z) with the spec's percentiles of ``brain`` mapped to 0 and 1, clipped; 0 outside the brain.

    Raises ValueError when the brain has no contrast.
    """
    low, high = np.percentile(voxels[brain], [spec.low_percentile, spec.high_percentile])
    if not high > low:
        raise ValueError("the brain has no contrast")
    scaled = np.clip((voxels - low) / (high - low), 0.0, spec.highest)
    return np.where(brain, scaled, 0.0).astype(np.float32)
