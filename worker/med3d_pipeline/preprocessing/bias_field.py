"""The smooth shading that the receive coils leave on a head, estimated by N4 and divided out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_pipeline.preprocessing.cropping import crop
from med3d_pipeline.preprocessing.n4 import Array, Climb, Domain, Positions, SplineField, estimate_log_field
from med3d_pipeline.preprocessing.resampling import coarsening_factors
from med3d_pipeline.preprocessing.spec import BiasFieldSpec
from med3d_pipeline.preprocessing.working_views import View
from med3d_pipeline.volume import Volume, Voxels

PURE_BRAIN = 0.9
"""Share of brain from which on a voxel tells something about the field."""
DARKEST = 1e-3
"""Of the brightest voxel: N4 takes logarithms, so that no voxel may be zero or below."""
DOMAIN_MM = 200.0
"""The splines' length along each axis, about as long as a brain with its margin."""
STARTS = 2
"""How often N4 begins in each view of a head that has several, one voxel later each time.

Which few voxels it sees moves its field; heads with one view are left as the model learned them.
"""


@dataclass(frozen=True, eq=False)
class FewVoxels:
    """What N4 looks at: voxels (X, Y, Z) float32 above 0, those of them that are brain, and where the splines lie."""

    voxels: Voxels
    mask: npt.NDArray[np.bool_]
    domain: Domain


def correct_bias_field(views: Sequence[View], spec: BiasFieldSpec) -> tuple[View, ...]:
    """Return the views of one head, each divided by the head's bias field, estimated where their shares say brain.

    The field is smooth, so each view gives estimates from one voxel in every ``spec.grid_mm`` or so, and the splines
    then give them at every voxel; all are averaged. The field's geometric mean over the brain is one: the brain keeps
    its brightness.
    """
    begun = [later for view in views for later in _begin_later(view, STARTS if len(views) > 1 else 1)]
    fields = [_estimate(view, spec) for view in begun]

    def average_fields(head: Volume) -> Array:
        total = np.zeros(head.shape)  # one field at a time: fine heads have up to eight
        for field, seen in zip(fields, begun, strict=True):
            total += field.at(positions(head, seen.head, spec.grid_mm))
        return total / len(fields)

    return tuple(_divide(view, average_fields(view.head)) for view in views)


def _begin_later(view: View, starts: int) -> Iterator[View]:
    for start in range(starts):
        x, y, z = (slice(start, size) for size in view.head.shape)
        later = View(crop(view.head, (x, y, z)), crop(view.share, (x, y, z)))
        if later.share.voxels.any():  # a trace of a brain may lie in the first voxels alone
            yield later


def _estimate(view: View, spec: BiasFieldSpec) -> SplineField:
    few = few_voxels(view.head, view.share, spec.grid_mm)
    return estimate_log_field(few.voxels, few.mask, few.domain, Climb(spec.iterations, spec.convergence, spec.momentum))


def positions(head: Volume, other: Volume, grid_mm: float) -> Positions:
    """Return the places of ``head``'s voxels along each axis, in the few voxels of ``other`` with the same axes."""
    to_other = np.linalg.inv(other.affine) @ head.affine
    x, y, z = (
        (np.arange(size) + round(start, 6)) / step
        for size, start, step in zip(
            head.shape, to_other[:3, 3].tolist(), coarsening_factors(other, grid_mm), strict=True
        )
    )
    return (x, y, z)


def _divide(view: View, field: Array) -> View:
    field = field - np.average(field, weights=view.share.voxels)
    corrected = view.head.voxels * np.exp(-field).astype(np.float32)
    return View(Volume(voxels=corrected, affine=view.head.affine), view.share)


def few_voxels(head: Volume, brain_share: Volume, grid_mm: float) -> FewVoxels:
    """Take one voxel of ``head`` in every ``grid_mm`` or so, and whether ``brain_share`` says that it is brain."""
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
    """Return DOMAIN_MM along each axis about the brain's centre of mass, in voxels of which ``factors`` make one.

    No single voxel of the mask moves it: a box around the mask would, and with its length the field.
    """
    spans = []
    for axis, (step, spacing) in enumerate(zip(factors, brain_share.spacing_mm, strict=True)):
        weights = brain_share.voxels.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        centre = float((weights * np.arange(weights.size)).sum() / weights.sum())
        length = DOMAIN_MM / spacing
        spans.append(((centre - length / 2) / step, length / step))
    return (spans[0], spans[1], spans[2])
