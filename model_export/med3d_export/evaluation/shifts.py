"""What may go wrong with a scan, done to good ones on purpose: each shift takes a head and gives the spoilt one.

Each is of a size that a reader would notice at once; a shift that the eye cannot see is not what a gate is for.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, uniform_filter1d, zoom

from med3d_pipeline.volume import Volume

Random = np.random.Generator
Shift = Callable[[Volume, Random], Volume]


def rician_noise(head: Volume, random: Random) -> Volume:
    """Add noise with a sigma of 15 % of the 99th percentile."""
    return with_rician_noise(head, 0.15, random)


def with_rician_noise(head: Volume, share_of_signal: float, random: Random) -> Volume:
    """Add noise with a sigma of this share of the 99th percentile on both channels of the magnitude image."""
    sigma = share_of_signal * float(np.percentile(head.voxels, 99))
    real, imaginary = random.normal(0.0, sigma, (2, *head.shape))
    return _with(head, np.hypot(head.voxels + real, imaginary))


def bias_field(head: Volume, random: Random) -> Volume:
    """Return brightness that falls from one side to the other by a factor of 5."""
    return with_gain_field(head, 5.0, random)


def with_gain_field(head: Volume, ratio: float, random: Random) -> Volume:
    """Return brightness that falls from one side to the other by this factor, in a direction of chance."""
    direction = random.normal(size=3)
    direction /= np.linalg.norm(direction)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in head.shape), indexing="ij")
    along = sum(part * axis for part, axis in zip(direction, axes, strict=True))
    return _with(head, head.voxels * np.exp(0.5 * np.log(ratio) * along))


def blur(head: Volume, _random: Random) -> Volume:
    """Return a Gaussian of 8 mm full width at half maximum, as motion leaves it."""
    sigmas = [8.0 / 2.355 / spacing for spacing in head.spacing_mm]
    return _with(head, gaussian_filter(head.voxels, sigmas))


def swapped_axes(head: Volume, _random: Random) -> Volume:
    """Return a header that takes front to back for feet to head: the brain lies on its face."""
    affine = head.affine.copy()
    affine[:, [1, 2]] = affine[:, [2, 1]]
    return Volume(head.voxels, affine)


def upside_down(head: Volume, _random: Random) -> Volume:
    """Return a header that takes head for feet and left for right: a rotation, so no mirror image gives it away."""
    affine = head.affine.copy()
    affine[:3, [0, 2]] *= -1.0
    return Volume(head.voxels, affine)


def missing_slab(head: Volume, random: Random) -> Volume:
    """Return the head without 30 mm of slices in the middle third, along the last axis, that were never sent: zeros."""
    thickness = max(1, round(30.0 / head.spacing_mm[2]))
    size = head.shape[2]
    first = int(random.integers(size // 3, max(size // 3 + 1, 2 * size // 3 - thickness)))
    voxels = head.voxels.copy()
    voxels[:, :, first : first + thickness] = 0.0
    return _with(head, voxels)


def holes(head: Volume, random: Random) -> Volume:
    """Add six dark balls of 10 to 18 mm radius around the middle of the head, as large lesions or cysts look."""
    bright = np.argwhere(head.voxels > 0.3 * np.percentile(head.voxels, 99))
    middle, spread = bright.mean(axis=0), 0.5 * bright.std(axis=0)
    indices = np.stack(np.meshgrid(*map(np.arange, head.shape), indexing="ij"), axis=-1)
    voxels = head.voxels.copy()
    for _ in range(6):
        centre = random.normal(middle, spread)
        distance_mm = np.linalg.norm((indices - centre) * np.array(head.spacing_mm), axis=-1)
        voxels[distance_mm < random.uniform(10.0, 18.0)] *= 0.1
    return _with(head, voxels)


def thick_slices(head: Volume, _random: Random) -> Volume:
    """Return slices of 6 mm along the last axis: each voxel the mean of what such a slice holds, every third one kept.

    The heads have 2 mm already, so that 3 mm as in a routine 2D scan would hardly be a shift for them.
    """
    step = max(2, round(6.0 / head.spacing_mm[2]))
    averaged = uniform_filter1d(head.voxels, step, axis=2)[:, :, step // 2 :: step]
    affine = head.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (step // 2)
    affine[:3, 2] *= step
    return Volume(averaged.astype(np.float32), affine)


def three_millimetre_slices(head: Volume, _random: Random) -> Volume:
    """Return slices of 3 mm along the last axis, resampled linearly: a shift that a head should survive."""
    factor = head.spacing_mm[2] / 3.0
    voxels = zoom(head.voxels, (1.0, 1.0, factor), order=1, grid_mode=True, mode="nearest")
    affine = head.affine.copy()
    step = head.shape[2] / voxels.shape[2]
    affine[:3, 3] += affine[:3, 2] * 0.5 * (step - 1.0)
    affine[:3, 2] *= step
    return Volume(voxels.astype(np.float32), affine)


UNCHANGED = "unchanged"
"""What spoilt heads are held against."""

SHIFTS: dict[str, Shift] = {
    "noise": rician_noise,
    "bias field": bias_field,
    "blur": blur,
    "swapped axes in the header": swapped_axes,
    "upside down in the header": upside_down,
    "missing slab": missing_slab,
    "holes like large lesions": holes,
    "3 mm slices": three_millimetre_slices,
    "6 mm slices": thick_slices,
}


def shifted(head: Volume, name: str, seed: int) -> Volume:
    """Return the head spoilt by the shift of this name; the seed fixes what chance there is in it."""
    if name == UNCHANGED:
        return head
    return SHIFTS[name](head, np.random.default_rng(seed))


def _with(head: Volume, voxels: npt.NDArray[np.floating]) -> Volume:
    return Volume(np.asarray(voxels, dtype=np.float32), head.affine)
