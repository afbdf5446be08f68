"""The smooth shading that the receive coils leave on a head, estimated by N4 and divided out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_pipeline.preprocessing.n4 import estimate_log_field
from med3d_pipeline.preprocessing.resampling import coarsening_factors
from med3d_pipeline.preprocessing.spec import BiasFieldSpec
from med3d_pipeline.volume import Volume, Voxels

PURE_BRAIN = 0.9
"""Share of brain from which on a voxel tells something about the field."""
DARKEST = 1e-3
"""Of the brightest voxel: N4 takes logarithms, so that no voxel may be zero or below."""


@dataclass(frozen=True, eq=False)
class FewVoxels:
    """What N4 looks at: voxels (X, Y, Z) float32 above 0, and those of them that are brain."""

    voxels: Voxels
    mask: npt.NDArray[np.bool_]


def correct_bias_field(head: Volume, brain_share: Volume, spec: BiasFieldSpec) -> Volume:
    """``head`` (float32) divided by its bias field, estimated where ``brain_share`` (0 to 1, same grid) says brain.

    The field is smooth, so it is estimated from one voxel in every ``spec.grid_mm`` or so; its splines then give it at
    every voxel. Its geometric mean over the brain is one: the brain keeps its brightness.
    """
    few = few_voxels(head, brain_share, spec.grid_mm)
    log_field = estimate_log_field(few.voxels, few.mask, spec.iterations, spec.convergence)
    factors = coarsening_factors(head, spec.grid_mm)
    i, j, k = (
        (np.arange(size) - left_over(size, step) / 2) / step for size, step in zip(head.shape, factors, strict=True)
    )
    field = log_field.at((i, j, k))
    field -= np.average(field, weights=brain_share.voxels)
    return Volume(voxels=head.voxels * np.exp(-field).astype(np.float32), affine=head.affine)


def few_voxels(head: Volume, brain_share: Volume, grid_mm: float) -> FewVoxels:
    """One voxel of ``head`` in every ``grid_mm`` or so, and whether ``brain_share`` says that it is brain."""
    factors = coarsening_factors(head, grid_mm)
    # Single voxels, not their means: means would blur the tissues' peaks in the histogram, which N4 sharpens.
    x, y, z = (every_so_many(size, step) for size, step in zip(head.shape, factors, strict=True))
    taken = head.voxels[x, y, z]
    return FewVoxels(np.maximum(taken, taken.max() * DARKEST), brain_share.voxels[x, y, z] > PURE_BRAIN)


def every_so_many(size: int, step: int) -> slice:
    """One voxel in ``step`` of ``size`` along an axis, as many to its low end as to its high end or one fewer."""
    start = left_over(size, step) // 2
    return slice(start, size - start, step)


def left_over(size: int, step: int) -> int:
    """How many voxels lie outside those that are taken, at both ends together.

    Where the number is odd the field is laid half a voxel of the working grid (1 mm) beyond the voxels that it was
    estimated from: their middle on the axis' middle. The tensors of released models were made so.
    """
    return size - 1 - step * (max(1, size // step) - 1)
