"""How a head differs from the average one: what both networks work on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class HeadStatistics:
    """Of the training heads alone. mean_head: (X, Y, Z), symmetric from left to right; spread: a standard deviation."""

    mean_head: Tensor
    spread: float

    @classmethod
    def of(cls, images: Tensor) -> Self:
        """Measure it on heads (N, 1, X, Y, Z); the spread is over subjects and voxels."""
        mean = images.mean(dim=(0, 1))
        mean = 0.5 * (mean + mean.flip(0))
        return cls(mean, float((images[:, 0] - mean).std()))


class Difference(nn.Module):
    """A network's mean head and spread, kept with its weights."""

    mean_head: Tensor
    spread: Tensor

    def __init__(self, heads: HeadStatistics) -> None:
        super().__init__()
        self.register_buffer("mean_head", heads.mean_head[None, None].clone())
        self.register_buffer("spread", torch.tensor(float(heads.spread)))

    def difference(self, tensor: Tensor) -> Tensor:
        """Return (N, 1, X, Y, Z) minus the mean head, in units of the spread."""
        return (tensor - self.mean_head) / self.spread

    def head(self, difference: Tensor) -> Tensor:
        """Return the head that differs by ``difference``."""
        return self.mean_head + self.spread * difference

    def linear_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of the paths that start in closed form; none where there is no such path."""
        return iter(())
