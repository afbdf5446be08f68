"""The smooth shading that the receive coils leave on a head, estimated by N4 and divided out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_pipeline.preprocessing.n4 import Climb, Domain, estimate_log_field
from med3d_pipeline.preprocessing.resampling import coarsening_factors
from med3d_pipeline.preprocessing.spec import BiasFieldSpec
from med3d_pipeline.volume import Volume, Voxels

PURE_BRAIN = 0.9
"""Share of brain from which on a voxel tells something about the field."""
DARKEST = 1e-3
"""Of the brightest voxel: N4 takes logarithms, so that no voxel may be zero or below."""
DOMAIN_MM = 200.0
"""The splines' length along each axis, about as long as a brain with its margin."""


@dataclass(frozen=True, eq=False)
class FewVoxels:
    """What N4 looks at: voxels (X, Y, Z) float32 above 0, those of them that are brain, and where the splines lie."""

    voxels: Voxels
    mask: npt.NDArray[np.bool_]
    domain: Domain


def correct_bias_field(head: Volume, brain_share: Volume, spec: BiasFieldSpec) -> Volume:
    """``head`` (float32) divided by its bias field, estimated where ``brain_share`` (0 to 1, same grid) says brain.

    The field is smooth, so it is estimated from one voxel in every ``spec.grid_mm`` or so; its splines then give it at
    every voxel. Its geometric mean over the brain is one: the brain keeps its brightness.
    """
    few = few_voxels(head, brain_share, spec.grid_mm)
    climb = Climb(spec.iterations, spec.convergence, spec.momentum)
    log_field = estimate_log_field(few.voxels, few.mask, few.domain, climb)
    i, j, k = (
        np.arange(size) / step for size, step in zip(head.shape, coarsening_factors(head, spec.grid_mm), strict=True)
    )
    field = log_field.at((i, j, k))
    field -= np.average(field, weights=brain_share.voxels)
    return Volume(voxels=head.voxels * np.exp(-field).astype(np.float32), affine=head.affine)


def few_voxels(head: Volume, brain_share: Volume, grid_mm: float) -> FewVoxels:
    """One voxel of ``head`` in every ``grid_mm`` or so, and whether ``brain_share`` says that it is brain."""
    factors = coarsening_factors(head, grid_mm)
    # Single voxels, not their means: means would blur the tissues' peaks in the histogram, which N4 sharpens.
    x, y, z = (slice(None, None, step) for step in factors)
    taken = head.voxels[x, y, z]
    return FewVoxels(
        np.maximum(taken, taken.max() * DARKEST),
        brain_share.voxels[x, y, z] > PURE_BRAIN,
        domain_around(brain_share, factors),
    )


def domain_around(brain_share: Volume, factors: tuple[int, int, int]) -> Domain:
    """DOMAIN_MM along each axis about the brain's centre of mass, in voxels of which ``factors`` make one.

    No single voxel of the mask moves it: a box around the mask would, and with its length the field.
    """
    spans = []
    for axis, (step, spacing) in enumerate(zip(factors, brain_share.spacing_mm, strict=True)):
        weights = brain_share.voxels.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        centre = float((weights * np.arange(weights.size)).sum() / weights.sum())
        length = DOMAIN_MM / spacing
        spans.append(((centre - length / 2) / step, length / step))
    return (spans[0], spans[1], spans[2])
