"""The same head as another scan of it would show it: noisier, coarser, lying otherwise, lit unevenly.

Made from one scan, so nothing else changes that a second visit would: no other distortion, no motion, no true change.
"""

import math

import numpy as np
import SimpleITK as sitk

from med3d_export.evaluation.shifts import with_gain_field, with_rician_noise
from med3d_export.repeatability.rewritings import HeadChange, Random, rigid_motion
from med3d_pipeline.preprocessing.itk_images import image_of, to_array
from med3d_pipeline.preprocessing.resampling import resample
from med3d_pipeline.volume import Affine, Volume

ROOM_MM = 20.0
"""What is added to the field of view on each side, so that no turned head is cut off."""
WHOLE_VOXEL = 1e-3  # of a voxel: 89.9999 of them are 90


def noisier(share_of_signal: float) -> HeadChange:
    """Make the change that adds Rician noise; sigma is this share of the 99th percentile in a voxel of 1 mm3.

    Longer voxels, which a scanner or a resampling averages, have less by the root of their volume.
    """

    def add(head: Volume, random: Random) -> Volume:
        volume_mm3 = abs(float(np.linalg.det(head.affine[:3, :3])))
        return with_rician_noise(head, share_of_signal / math.sqrt(volume_mm3), random)

    return add


def uneven_gain(ratio: float) -> HeadChange:
    """Make the change that makes one side of the image, in a direction of chance, brighter by this ratio."""

    def light(head: Volume, random: Random) -> Volume:
        return with_gain_field(head, ratio, random)

    return light


def coarser_slices(more_mm: float) -> HeadChange:
    """Make the change that lengthens voxels by ``more_mm`` through the slices.

    That is along the axis of the longest voxels, or the array's last one where all are as long.
    """

    def coarsen(head: Volume, _random: Random) -> Volume:
        longest = max(range(3), key=lambda axis: (round(head.spacing_mm[axis], 2), axis))
        return on_longer_voxels(head, tuple(more_mm if axis == longest else 0.0 for axis in range(3)))

    return coarsen


def coarser_voxels(more_mm: float) -> HeadChange:
    """Make the change that lengthens voxels by ``more_mm`` along every axis."""

    def coarsen(head: Volume, _random: Random) -> Volume:
        return on_longer_voxels(head, (more_mm, more_mm, more_mm))

    return coarsen


def turned(degrees: float, axis: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> HeadChange:
    """Make the change that turns and shifts a head inside the scanner: interpolated once, by cubic B-splines."""

    def turn(head: Volume, _random: Random) -> Volume:
        pads = [math.ceil(ROOM_MM / spacing) for spacing in head.spacing_mm]
        affine = head.affine.copy()
        affine[:3, 3] -= affine[:3, :3] @ np.array(pads, dtype=np.float64)
        x, y, z = (size + 2 * pad for size, pad in zip(head.shape, pads, strict=True))
        to_head = np.linalg.inv(rigid_motion(head, degrees, axis, shift_mm))
        return _sampled(head, head, (x, y, z), affine, np.asarray(to_head, dtype=np.float64))

    return turn


def on_longer_voxels(head: Volume, more_mm: tuple[float, ...]) -> Volume:
    """Return ``head`` as voxels longer by ``more_mm`` along each axis see it, on the part of its box that they fill.

    A voxel is a box, of variance s^2 / 12: the head is blurred by a Gaussian of what the longer one has more, then
    sampled once by cubic B-splines.
    """
    own = np.array(head.spacing_mm)
    wanted = own + np.array(more_mm)
    blurred = sitk.DiscreteGaussian(image_of(head), ((wanted**2 - own**2) / 12.0).tolist(), 32, 0.001, True)
    stretch, sizes = wanted / own, np.array(head.shape)
    shape = np.maximum(1, np.floor(sizes / stretch + WHOLE_VOXEL)).astype(int)
    to_old = np.diag([*stretch, 1.0])
    to_old[:3, 3] = (sizes - 1) / 2 - stretch * (shape - 1) / 2
    x, y, z = shape.tolist()
    return _sampled(Volume(to_array(blurred), head.affine), head, (x, y, z), head.affine @ to_old, np.eye(4))


def _sampled(seen: Volume, head: Volume, shape: tuple[int, int, int], affine: Affine, to_head: Affine) -> Volume:
    """Return ``seen`` on another grid, nowhere darker than ``head``: splines swing below black, scanners do not."""
    return Volume(np.maximum(resample(seen, shape, affine, to_head), head.voxels.min()), affine)
