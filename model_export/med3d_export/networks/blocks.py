"""Overlapping cubes that cover the box around the brain, and how they are put together again."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from med3d_export.networks.half_box import HalfBox


@dataclass(frozen=True)
class BlockGrid:
    """Cubes of ``size`` voxels every ``step`` voxels, in the order of x, y, z; ``size`` is at least ``step``.

    Each is looked at through a window that falls off by a quarter of a sine where it overlaps its neighbours, so that
    the squared windows add up to 1 within the box.
    """

    box: HalfBox
    size: int
    step: int

    @property
    def counts(self) -> tuple[int, int, int]:
        """Cubes along each axis."""
        overlap = self.size - self.step
        x, y, z = (max(1, math.ceil((side.stop - side.start - overlap) / self.step)) for side in self.box.sides)
        return (x, y, z)

    @property
    def number(self) -> int:
        """Of all cubes."""
        return math.prod(self.counts)

    @property
    def voxels(self) -> int:
        """Of one cube."""
        return self.size**3

    def window(self) -> Tensor:
        """Return (size ** 3,) weights of a cube's voxels."""
        along, overlap = torch.ones(self.size), self.size - self.step
        if overlap:
            along[:overlap] = torch.sin(0.5 * math.pi * (torch.arange(overlap) + 0.5) / overlap)
            along[-overlap:] = along[:overlap].flip(0)
        return torch.einsum("i,j,k->ijk", along, along, along).flatten()

    def padded(self, images: Tensor) -> Tensor:
        """Return the box of images (N, 1, X, Y, Z), zeros around it so that whole cubes cover it: (N, X', Y', Z')."""
        margins = [margin for margins in self._margins()[::-1] for margin in margins]
        return functional.pad(self.box.cut(images)[:, 0], margins)

    def cube(self, padded: Tensor, number: int) -> Tensor:
        """Return the voxels (N, size ** 3) of one cube of what ``padded`` gives."""
        places = list(itertools.product(*map(range, self.counts)))[number]
        x, y, z = (slice(place * self.step, place * self.step + self.size) for place in places)
        return padded[:, x, y, z].flatten(1)

    def join(self, cubes: Sequence[Tensor | None]) -> Tensor:
        """Sum of all cubes (N, size ** 3), None where one is zero: images (N, 1, X, Y, Z), 0 outside the box.

        Raises ValueError where every cube is None.
        """
        parts = [None if cube is None else cube.reshape(-1, self.size, self.size, self.size) for cube in cubes]
        for axis in (2, 1, 0):
            count = self.counts[axis]
            rows = [parts[start : start + count] for start in range(0, len(parts), count)]
            parts = [_laid_out(row, axis, self.step, self.size + (count - 1) * self.step) for row in rows]
        whole = parts[0]
        if whole is None:
            raise ValueError("there is no cube to join")
        inner = [
            slice(before, before + side.stop - side.start)
            for (before, _), side in zip(self._margins(), self.box.sides, strict=True)
        ]
        return self.box.paste(whole[:, None, inner[0], inner[1], inner[2]])

    def _margins(self) -> list[tuple[int, int]]:
        covered = [count * self.step + self.size - self.step for count in self.counts]
        spare = [all_ - (side.stop - side.start) for all_, side in zip(covered, self.box.sides, strict=True)]
        return [(extra // 2, extra - extra // 2) for extra in spare]


def _laid_out(parts: Sequence[Tensor | None], axis: int, step: int, length: int) -> Tensor | None:
    """Sum of ``parts`` (N, x, y, z), each ``step`` further along ``axis``."""
    laid = []
    for place, part in enumerate(parts):
        if part is not None:
            before = place * step
            margins = [0] * 6
            margins[2 * (2 - axis) : 2 * (2 - axis) + 2] = [before, length - before - part.shape[axis + 1]]
            laid.append(functional.pad(part, margins))
    return torch.stack(laid).sum(dim=0) if laid else None
