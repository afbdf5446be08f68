"""The largest part of a mask and its cavities, by runs of voxels instead of by voxels.

A brain of three million voxels is some 25,000 runs along the last axis. Runs that touch are joined, and only those that
are kept become voxels again.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]

# Lines beside a line, those after it only: all that touch it by a corner, or by a face.
BY_CORNER, BY_FACE = ((0, 1), (1, -1), (1, 0), (1, 1)), ((0, 1), (1, 0))


def largest_part(mask: Mask) -> Mask:
    """Return the largest 26-connected part of ``mask`` (X, Y, Z), which has one; of several as large the first."""
    runs = _Runs.of(mask)
    parts = runs.parts(BY_CORNER)
    largest = np.bincount(parts, weights=runs.ends - runs.starts).argmax()
    kept: Mask = (mask != 0).view(np.uint8)
    kept[runs.voxels(parts != largest)] = 0
    return kept


def fill_cavities(mask: Mask) -> Mask:
    """Return ``mask`` with the cavities filled that no face-connected path joins to the outside."""
    runs = _Runs.of(np.pad(mask, 1) == 0)
    parts = runs.parts(BY_FACE)
    filled: Mask = (mask != 0).view(np.uint8)
    x, y, z = runs.voxels(parts != parts[0])
    filled[x - 1, y - 1, z - 1] = 1
    return filled


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs of voxels along the last axis: places of their first voxels and of those behind their last.

    Places count through an array that has one blank voxel behind each line, and one blank line behind each plane, so
    that no run goes on in the next line, and no line has one of another plane beside it.
    """

    shape: tuple[int, int, int]
    starts: Places
    ends: Places

    @classmethod
    def of(cls, mask: npt.NDArray[np.uint8 | np.bool_]) -> Self:
        """Find the runs of what is not 0 in ``mask``."""
        x, y, z = mask.shape
        padded = np.zeros((x, y + 1, z + 1), dtype=np.bool_)
        np.not_equal(mask, 0, out=padded[:, :y, :z])
        flat = padded.ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        if flat[0]:
            changes = np.concatenate([[0], changes])
        return cls((x, y, z), changes[::2], changes[1::2])

    def parts(self, neighbours: tuple[tuple[int, int], ...]) -> Places:
        """Give a number to the connected part of each run by the first run in it."""
        corner = int(neighbours is BY_CORNER)
        _, y, z = self.shape
        pairs = [self._touching((dx * (y + 1) + dy) * (z + 1), corner) for dx, dy in neighbours]
        first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
        return _joined(len(self.starts), first, second)

    def _touching(self, shift: int, corner: int) -> tuple[Places, Places]:
        """Return pairs of runs of which the second lies beside the first, ``shift`` places on."""
        low = np.searchsorted(self.ends, self.starts + (shift - corner), side="right")
        high = np.searchsorted(self.starts, self.ends + (shift + corner), side="left")
        counts = np.maximum(high - low, 0)
        first = np.repeat(np.arange(len(counts)), counts)
        nth = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        return first, low[first] + nth

    def voxels(self, chosen: npt.NDArray[np.bool_]) -> tuple[Places, ...]:
        """Return the indices of the ``chosen`` runs' voxels along the three axes."""
        starts, lengths = self.starts[chosen], (self.ends - self.starts)[chosen]
        places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        x, y, z = self.shape
        return np.unravel_index(places, (x, y + 1, z + 1))


def _joined(count: int, first: Places, second: Places) -> Places:
    """Give each of ``count`` things, joined in pairs by ``first`` and ``second``, the lowest number of its group."""
    numbers = np.arange(count)
    while first.size:
        a, b = numbers[first], numbers[second]
        apart = a != b
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        np.minimum.at(numbers, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(below := numbers[numbers], numbers):
            numbers = below
    return numbers
