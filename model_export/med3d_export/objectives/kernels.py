"""Kernels for the maximum mean discrepancy from the standard normal prior, at any dimension.

Both are averages over several widths, which are tied to 2 d, the expected squared distance of two draws from the
prior in d dimensions. The often copied exp(-|x - y|^2 / d^2) is flat at 512 dimensions: it sees neither a posterior
that has collapsed nor one of half the width. Expectations over the prior are not drawn but computed, so no noise of
theirs is in the loss.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
KernelName = Literal["inverse-multiquadric", "gaussian"]


class Kernel(Protocol):
    """1 where two latents agree, towards 0 where they are far apart."""

    def between(self, left: Tensor, right: Tensor) -> Tensor:
        """Return kernel matrix (N, M) of latents (N, d) and (M, d)."""

    def with_prior(self, latents: Tensor) -> Tensor:
        """Return the expected kernel (N,) of each latent with a draw from N(0, I)."""

    def within_prior(self, dimension: int) -> float:
        """Return the expected kernel of two draws from N(0, I)."""


@dataclass(frozen=True)
class GaussianKernel:
    """Mean over scales s of exp(-|x - y|^2 / (2 w)), w = s d: the width grows with the dimension.

    With x fixed and z ~ N(0, I) the expectation is (w / (w + 1))^(d/2) exp(-|x|^2 / (2 (w + 1))), a convolution of
    Gaussians.
    """

    scales: tuple[float, ...] = SCALES

    def between(self, left: Tensor, right: Tensor) -> Tensor:
        """Return kernel matrix (N, M)."""
        squared = squared_distances(left, right)
        widths = [scale * left.shape[1] for scale in self.scales]
        return torch.stack([torch.exp(-squared / (2.0 * width)) for width in widths]).mean(0)

    def with_prior(self, latents: Tensor) -> Tensor:
        """Return the kernel's expectation in closed form (N,)."""
        norms, dimension = latents.square().sum(1), latents.shape[1]
        widths = [scale * dimension for scale in self.scales]
        parts = [(1.0 + 1.0 / w) ** (-0.5 * dimension) * torch.exp(-norms / (2.0 * (w + 1.0))) for w in widths]
        return torch.stack(parts).mean(0)

    def within_prior(self, dimension: int) -> float:
        """Return the kernel's expectation in closed form."""
        return float(np.mean([(1.0 + 2.0 / (scale * dimension)) ** (-0.5 * dimension) for scale in self.scales]))


@dataclass(frozen=True)
class InverseMultiquadricKernel:
    """Mean over scales s of c / (c + |x - y|^2), c = 2 d s (Tolstikhin et al., "Wasserstein Auto-Encoders", ICLR 2018).

    It is a mixture of Gaussians, c / (c + r) = integral of exp(-t) exp(-t r / c) dt over t > 0, so its expectations
    over the prior are those of Gaussians, integrated by Gauss-Laguerre quadrature.
    """

    scales: tuple[float, ...] = SCALES

    def between(self, left: Tensor, right: Tensor) -> Tensor:
        """Return kernel matrix (N, M)."""
        squared = squared_distances(left, right)
        constants = [2.0 * left.shape[1] * scale for scale in self.scales]
        return torch.stack([constant / (constant + squared) for constant in constants]).mean(0)

    def with_prior(self, latents: Tensor) -> Tensor:
        """Integrate by quadrature (N,)."""
        norms, dimension = latents.square().sum(1, keepdim=True), latents.shape[1]
        parts = []
        for scale in self.scales:
            times, weights = _quadrature(scale)
            narrowing = times / (2.0 * dimension * scale)
            gaussian = -0.5 * dimension * np.log1p(2.0 * narrowing)
            reach = latents.new_tensor(narrowing / (1.0 + 2.0 * narrowing))
            exponent = latents.new_tensor(np.log(weights) + gaussian) - norms * reach
            parts.append(exponent.exp().sum(1))
        return torch.stack(parts).mean(0)

    def within_prior(self, dimension: int) -> float:
        """Integrate by quadrature: the difference of two draws is N(0, 2 I)."""
        parts = []
        for scale in self.scales:
            times, weights = _quadrature(scale)
            parts.append(np.sum(weights * (1.0 + 4.0 * times / (2.0 * dimension * scale)) ** (-0.5 * dimension)))
        return float(np.mean(parts))


KERNELS: dict[KernelName, Kernel] = {
    "inverse-multiquadric": InverseMultiquadricKernel(),
    "gaussian": GaussianKernel(),
}


@cache
def _quadrature(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the times and weights for integrals of exp(-t) g(t), g falling about like exp(-t / scale)."""
    nodes, weights = np.polynomial.laguerre.laggauss(40)
    rate = 1.0 + 1.0 / scale
    return nodes / rate, np.exp(np.log(weights) + nodes - nodes / rate) / rate


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Return (N, M) squared Euclidean distances of (N, d) and (M, d)."""
    products = left @ right.T
    return (left.square().sum(1, keepdim=True) + right.square().sum(1)[None] - 2.0 * products).clamp_min(0.0)
