"""Peers that are always there: the same head read, corrected and aligned by plain SimpleITK, and products of matrices.

They do what a stage does by the book, not what it is for: a measure of the machine for a ratio, cheap enough to be run
beside every study.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

MATRIX = 2048
PRODUCTS = 8


def read_series(folder: Path) -> sitk.Image:
    """GDCM's reader, on the files of a folder that holds one series."""
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)), sitk.sitkFloat32)


def multiply_matrices() -> None:
    """What networks are made of, by numpy's BLAS: 0.14 Tflop in float32."""
    left = np.full((MATRIX, MATRIX), 0.5, dtype=np.float32)
    for _ in range(PRODUCTS):
        np.matmul(left, left)


def correct_and_align(head: sitk.Image, template: sitk.Image) -> sitk.Image:
    """N4 on one voxel in 6 x 6 x 6, an affine by mean squares in 10 steps at 4 mm, and one interpolation."""
    head, few = sitk.Shrink(head, [2, 2, 2]), sitk.Shrink(head, [6, 6, 6])
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([20])
    n4.Execute(few + 1, sitk.OtsuThreshold(few, 0, 1))
    shading = sitk.Cast(sitk.Exp(n4.GetLogBiasFieldAsImage(head)), sitk.sitkFloat32)
    corrected = sitk.Cast(head / shading, sitk.sitkFloat32)
    coarse = sitk.Cast(sitk.Shrink(template, [4, 4, 4]), sitk.sitkFloat32)
    search = sitk.ImageRegistrationMethod()
    search.SetMetricAsMeanSquares()
    search.SetInterpolator(sitk.sitkLinear)
    search.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-9, 10)
    search.SetOptimizerScalesFromPhysicalShift()
    search.SetInitialTransform(
        sitk.CenteredTransformInitializer(coarse, corrected, sitk.AffineTransform(3)), inPlace=False
    )
    found = search.Execute(coarse, corrected)
    return sitk.Resample(
        sitk.DiscreteGaussian(corrected, 2.0), sitk.Shrink(template, [3, 3, 3]), found, sitk.sitkBSpline3
    )
