"""SimpleITK's N4, which ours is held against."""

import numpy as np
import SimpleITK as sitk

from med3d_pipeline.preprocessing.itk_images import to_array, to_image
from med3d_pipeline.preprocessing.itk_threads import itk_threads


def field_by_simple_itk(
    voxels: np.ndarray, mask: np.ndarray, iterations: tuple[int, ...], convergence: float
) -> np.ndarray:
    """The logarithm of the field that SimpleITK's filter finds, at every voxel."""
    image, within = to_image(voxels, np.eye(4)), to_image(mask.astype(np.uint8), np.eye(4))
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(iterations))
    n4.SetConvergenceThreshold(convergence)
    n4.SetMaskLabel(1)
    with itk_threads(1):
        n4.Execute(image, within)
    return to_array(n4.GetLogBiasFieldAsImage(image))
