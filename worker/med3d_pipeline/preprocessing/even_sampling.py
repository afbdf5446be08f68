"""Linear interpolation onto a grid that divides the same box evenly: one pair of neighbours per axis, slab by slab.

What a general resampler does in eight neighbours per voxel, three passes of two do here, on slabs that stay in the
processor's cache. Every sum has two terms in a fixed order, so the bits do not depend on the number of threads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from med3d_pipeline.volume import Voxels

Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]
Slab = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """Along one axis, for each of n cells: the voxels before and after its centre and the share of the latter."""

    before: npt.NDArray[np.intp]
    after: npt.NDArray[np.intp]
    share: npt.NDArray[np.float32]

    def those(self, cells: slice) -> Self:
        return type(self)(self.before[cells], self.after[cells], self.share[cells])

    def that_see(self, first: int, last: int) -> slice:
        """Return the cells with a neighbour among the voxels from ``first`` to ``last``.

        A coarse grid may have none.
        """
        seeing = np.flatnonzero((self.after >= first) & (self.before <= last))
        return slice(int(seeing[0]), int(seeing[-1]) + 1) if seeing.size else slice(0, 0)


WHOLE: Box = (slice(None), slice(None), slice(None))


def _neighbours(size: int, n: int) -> _Neighbours:
    # Centres of cells at the border lie up to half a voxel outside the outermost centres: there the edge goes on.
    centres = np.clip((np.arange(n) + 0.5) * (size / n) - 0.5, 0, size - 1)
    before = np.minimum(centres.astype(np.intp), max(0, size - 2))
    return _Neighbours(before, np.minimum(before + 1, size - 1), (centres - before).astype(np.float32))


def even_slabs(voxels: Voxels, shape: Shape, cells: Box = WHOLE) -> Iterator[Slab]:
    """Yield ``voxels`` (X, Y, Z) at the centres of ``shape`` cells that divide the same box, as slabs (Y, Z).

    Only of those in ``cells``. A slab is overwritten by the next one.
    """
    x, y, z = (_neighbours(size, n).those(of) for size, n, of in zip(voxels.shape, shape, cells, strict=True))
    y_share, slab = y.share[:, None], np.empty((y.share.size, z.share.size), dtype=np.float32)
    planes: dict[int, Slab] = {}

    def plane(index: int) -> Slab:
        if index not in planes:
            source = np.asarray(voxels[index], dtype=np.float32)
            rows = source.take(z.before, axis=1)
            rows += (source.take(z.after, axis=1) - rows) * z.share
            found = rows.take(y.before, axis=0)
            found += (rows.take(y.after, axis=0) - found) * y_share
            planes[index] = found
        return planes[index]

    for before, after, share in zip(x.before, x.after, x.share, strict=True):
        for passed in [index for index in planes if index < before]:
            del planes[passed]
        lower = plane(int(before))
        np.subtract(plane(int(after)), lower, out=slab)
        slab *= share
        slab += lower
        yield slab


def sample_evenly(voxels: Voxels, shape: Shape) -> Voxels:
    """Return the slabs of ``even_slabs`` as one array of ``shape``, float32."""
    sampled = np.empty(shape, dtype=np.float32)
    for index, slab in enumerate(even_slabs(voxels, shape)):
        sampled[index] = slab
    return sampled


def where_above(voxels: Voxels, shape: Shape, threshold: float) -> npt.NDArray[np.bool_]:
    """Tell where ``sample_evenly`` is above ``threshold``, (shape) bool.

    Only cells that see such a voxel are looked at.
    """
    above = np.zeros(shape, dtype=np.bool_)
    reach = _reach_above(voxels, threshold)
    if reach is None:
        return above
    sizes = zip(voxels.shape, shape, reach, strict=True)
    x, y, z = (_neighbours(size, n).that_see(first, last) for size, n, (first, last) in sizes)
    for index, slab in enumerate(even_slabs(voxels, shape, (x, y, z)), x.start):
        np.greater(slab, threshold, out=above[index, y, z])
    return above


def _reach_above(voxels: Voxels, threshold: float) -> list[tuple[int, int]] | None:
    """Return the first and the last voxel along each axis of those above ``threshold``; None where there is none."""
    lines = np.zeros(voxels.shape[1:], dtype=np.bool_)
    planes = np.zeros(len(voxels), dtype=np.bool_)
    for index, plane in enumerate(voxels):
        above = plane > threshold
        planes[index] = above.any()
        lines |= above
    if not planes.any():
        return None
    held = [np.flatnonzero(along) for along in (planes, lines.any(axis=1), lines.any(axis=0))]
    return [(int(along[0]), int(along[-1])) for along in held]
