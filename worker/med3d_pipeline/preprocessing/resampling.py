"""From native space into the template's grid, in one interpolation."""

import math

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from med3d_pipeline.preprocessing.itk_images import to_array, to_image, to_transform
from med3d_pipeline.volume import Affine, Volume, Voxels

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
# Of a voxel: a header that says 1.0000001 mm must not tip a count of voxels that one of 1 mm would not.
HEADER_ROUNDING = 1e-3


def coarsening_factors(volume: Volume, grid_mm: float) -> tuple[int, int, int]:
    """Tell how many voxels along each axis make one of about ``grid_mm``; at least 1."""
    x, y, z = (max(1, math.floor(grid_mm / spacing + 0.5 - HEADER_ROUNDING)) for spacing in volume.spacing_mm)
    return (x, y, z)


def voxels_to_hold(length_mm: float, spacing_mm: float) -> int:
    """Return how many voxels of ``spacing_mm`` it takes to hold ``length_mm``."""
    return math.ceil(length_mm / spacing_mm - HEADER_ROUNDING)


def coarsen(volume: Volume, grid_mm: float) -> Volume:
    """Return ``volume`` on a grid of about ``grid_mm`` along its own axes, each voxel the mean of what it holds."""
    factors = coarsening_factors(volume, grid_mm)
    if factors == (1, 1, 1):
        return volume
    to_fine = np.diag([*map(float, factors), 1.0])
    to_fine[:3, 3] = (np.array(factors) - 1) / 2
    return Volume(voxels=block_means(volume.voxels, factors), affine=volume.affine @ to_fine)


def block_means(voxels: npt.NDArray[np.float32 | np.uint8], factors: tuple[int, int, int]) -> Voxels:
    """Return the mean of each whole block of ``factors`` voxels, float32, and of none that is cut by the high ends.

    Summed in float64, slab by slab: quick, because a slab stays in the processor's cache.
    """
    x_factor, y_factor, z_factor = factors
    x, y, z = (size // factor for size, factor in zip(voxels.shape, factors, strict=True))
    means = np.empty((x, y, z), dtype=np.float32)
    for index in range(x):
        slab = voxels[x_factor * index : x_factor * (index + 1)].sum(axis=0, dtype=np.float64)
        rows = np.sum([slab[start : y_factor * y : y_factor] for start in range(y_factor)], axis=0)
        blocks = np.sum([rows[:, start : z_factor * z : z_factor] for start in range(z_factor)], axis=0)
        means[index] = blocks / (x_factor * y_factor * z_factor)
    return means


def prefilter(volume: Volume, fwhm_mm: float) -> Volume:
    """Return ``volume`` blurred so that it has been seen through a Gaussian of ``fwhm_mm``.

    What the voxels blur already (a box of width s has variance s^2 / 12) is taken off the Gaussian's variance, so heads
    of fine and of coarse voxels end equally sharp.
    """
    wanted = (fwhm_mm / FWHM_PER_SIGMA) ** 2
    variances = [max(0.0, wanted - spacing**2 / 12) for spacing in volume.spacing_mm]
    if not any(variances):
        return volume
    image = to_image(volume.voxels, volume.affine)
    # The discrete Gaussian keeps its variance exactly at any width; others do not below one voxel.
    blurred = sitk.DiscreteGaussian(image, variances, 32, 0.001, True)
    return Volume(voxels=to_array(blurred), affine=volume.affine)


def resample(volume: Volume, shape: tuple[int, int, int], affine: Affine, grid_to_volume: Affine) -> Voxels:
    """Return ``volume`` on a grid of ``shape``, interpolated by cubic B-splines; zero outside.

    affine: (4, 4), the grid's voxels to its own RAS+ mm. grid_to_volume: (4, 4), from there to the volume's RAS+ mm.
    Cubic, because linear interpolation blurs more the farther a grid point lies from the voxel centres.
    Returns (X, Y, Z) float32.
    """
    return _sample(volume, shape, affine, grid_to_volume, sitk.sitkBSpline3)


def sample_linear(volume: Volume, shape: tuple[int, int, int], affine: Affine, grid_to_volume: Affine) -> Voxels:
    """Return the same, interpolated linearly: quicker, and what lies between 0 and 1 stays there."""
    return _sample(volume, shape, affine, grid_to_volume, sitk.sitkLinear)


def _sample(
    volume: Volume, shape: tuple[int, int, int], affine: Affine, grid_to_volume: Affine, interpolator: int
) -> Voxels:
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(to_image(np.zeros(shape, dtype=np.uint8), affine))
    resampler.SetTransform(to_transform(grid_to_volume))
    resampler.SetInterpolator(interpolator)
    resampler.SetDefaultPixelValue(0.0)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    voxels: Voxels = to_array(resampler.Execute(to_image(volume.voxels, volume.affine)))
    return voxels
