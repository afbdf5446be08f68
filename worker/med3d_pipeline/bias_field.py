"""The smooth shading that the receive coils leave on a head, estimated by N4 and divided out.

N. Tustison et al., "N4ITK: improved N3 bias correction", IEEE Transactions on Medical Imaging 29 (2010) 1310-1320.
"""

import numpy as np
import SimpleITK as sitk

from med3d_pipeline.itk_images import to_array, to_image
from med3d_pipeline.itk_threads import itk_threads
from med3d_pipeline.spec import BiasFieldSpec
from med3d_pipeline.volume import Volume, Voxels

PURE_BRAIN = 0.9
"""Share of brain from which on a voxel tells something about the field."""


def correct_bias_field(head: Volume, brain_share: Volume, spec: BiasFieldSpec) -> Volume:
    """``head`` (float32) divided by its bias field, estimated where ``brain_share`` (0 to 1, same grid) says brain.

    The field is smooth, so it is estimated on one voxel in every ``spec.grid_mm`` or so, and then interpolated
    linearly. Its geometric mean over the brain is one: the brain keeps its brightness.
    """
    image = to_image(head.voxels, head.affine)
    factors = [max(1, round(spec.grid_mm / spacing)) for spacing in head.spacing_mm]
    # Single voxels, not their means: means would blur the tissues' peaks in the histogram, which N4 sharpens.
    share = sitk.Shrink(to_image(brain_share.voxels, head.affine), factors)
    log_field = _log_field(sitk.Shrink(image, factors), share > PURE_BRAIN, spec)

    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(image)
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetUseNearestNeighborExtrapolator(True)
    field: Voxels = to_array(resample.Execute(log_field))
    field = field - np.float32(np.average(field, weights=brain_share.voxels.astype(np.float64)))
    return Volume(voxels=head.voxels * np.exp(-field), affine=head.affine)


def _log_field(coarse: sitk.Image, mask: sitk.Image, spec: BiasFieldSpec) -> sitk.Image:
    # N4 takes logarithms: no voxel may be zero or below.
    brightest = float(sitk.GetArrayViewFromImage(coarse).max())
    coarse = sitk.Maximum(coarse, brightest * 1e-3)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(spec.iterations))
    n4.SetConvergenceThreshold(spec.convergence)
    n4.SetMaskLabel(1)
    with itk_threads(1):
        n4.Execute(coarse, mask)
    return n4.GetLogBiasFieldAsImage(coarse)
