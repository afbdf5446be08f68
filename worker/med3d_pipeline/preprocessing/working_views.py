"""One head on each of the working grids that its voxels can be averaged to.

Blocks of voxels may begin at any voxel, and the grid that comes of it is another picture of the same head. None is
the right one, so the steps that depend on it are averaged over beginnings along the diagonal. What a coarse grid
folds back from finer detail along one axis, or along all three, changes its sign from one to the next and cancels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from med3d_pipeline.preprocessing.connected_parts import Mask
from med3d_pipeline.preprocessing.cropping import crop
from med3d_pipeline.preprocessing.even_sampling import Box
from med3d_pipeline.preprocessing.resampling import block_means, coarsen, coarsening_factors
from med3d_pipeline.volume import Volume

MOST_VIEWS = 4
"""Voxels under half a millimetre have more: those that are left begin as far apart as they can."""


@dataclass(frozen=True, eq=False)
class View:
    """A head about its brain, and on the same grid how much of each voxel is brain, 0 to 1."""

    head: Volume
    share: Volume


def make_later_views(head: Volume, mask: Mask, grid_mm: float, near: Box) -> Iterator[View]:
    """Make the views of ``head`` whose blocks begin one voxel later along each axis than the first view's, two, ...

    With the first there are as many as a block's longest side has voxels, at most MOST_VIEWS. mask: (X, Y, Z) uint8
    on ``head``. near: the first view's box, in voxels of the grid whose blocks begin at once.
    A head whose blocks are single voxels has no other view than the first. A view that begins behind all of the brain,
    as where a trace of one touches the image's border, tells nothing and is left out.
    """
    factors = coarsening_factors(head, grid_mm)
    views = min(max(factors), MOST_VIEWS)
    for later in (max(factors) * view // views for view in range(1, views)):
        sides = [
            slice(side.start * factor + later % factor, min(size, side.stop * factor + later % factor))
            for side, factor, size in zip(near, factors, head.shape, strict=True)
        ]
        box = (sides[0], sides[1], sides[2])
        share = block_means(mask[box], factors)
        if share.any():
            seen = coarsen(crop(head, box), grid_mm)
            yield View(seen, Volume(voxels=share, affine=seen.affine))
