"""What the linear paths look at: the box around the brain at half resolution, left and right averaged."""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

BOX_THRESHOLD = 0.05
"""Share of the mean head's brightest value under which a voxel is outside the brain."""


@dataclass(frozen=True)
class HalfBox:
    """sides: of the box on the grid (X, Y, Z), each begun and ended on an even voxel, the first one symmetric."""

    grid: tuple[int, int, int]
    sides: tuple[slice, slice, slice]

    @classmethod
    def around(cls, mean_head: Tensor) -> Self:
        """Return the smallest one that holds the mean head (X, Y, Z)."""
        sides = []
        for axis, size in enumerate(mean_head.shape):
            others = [other for other in range(3) if other != axis]
            held = torch.nonzero(mean_head.amax(dim=others) > BOX_THRESHOLD * mean_head.max()).flatten()
            low, high = (int(held[0]), int(held[-1]) + 1) if len(held) else (0, size)
            if axis == 0:
                low = min(low, size - high)
                high = size - low
            sides.append(slice(low - low % 2, min(size, high + high % 2)))
        x, y, z = mean_head.shape
        return cls((x, y, z), (sides[0], sides[1], sides[2]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """At half resolution, one side of the middle: what ``fold`` keeps."""
        x, y, z = ((side.stop - side.start) // 2 for side in self.sides)
        return (-(-x // 2), y, z)

    @property
    def size(self) -> int:
        """Voxels of ``shape``."""
        return math.prod(self.shape)

    def cut(self, image: Tensor) -> Tensor:
        """Return the box of images (N, C, X, Y, Z), at full resolution."""
        x, y, z = self.sides
        return image[:, :, x, y, z]

    def fold(self, cut: Tensor) -> Tensor:
        """Return (N, C * size) of what ``cut`` gives: averages of eight voxels and of left and right."""
        pooled = functional.avg_pool3d(cut, 2)
        return (0.5 * (pooled + pooled.flip(2)))[:, :, : self.shape[0]].flatten(1)

    def unfold(self, folded: Tensor) -> Tensor:
        """Return images (N, 1, X, Y, Z) of ``folded`` (N, size), resized trilinearly, left as right, 0 outside."""
        half = folded.reshape(-1, 1, *self.shape)
        across = (self.sides[0].stop - self.sides[0].start) // 2
        whole = torch.cat([half, half[:, :, : across // 2].flip(2)], dim=2)
        fine = functional.interpolate(whole, scale_factor=2.0, mode="trilinear", align_corners=False)
        return self.paste(fine)

    def paste(self, cut: Tensor) -> Tensor:
        """Return images (N, C, X, Y, Z) of what ``cut`` gives, 0 outside the box."""
        around = [(side.start, size - side.stop) for side, size in zip(self.sides, self.grid, strict=True)]
        return functional.pad(cut, [margin for margins in around[::-1] for margin in margins])
