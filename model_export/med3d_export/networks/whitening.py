"""Principal directions of few rows of many numbers, and codes that new heads spread like the prior."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

SHRINKAGE = 0.3
"""Of correlations towards none: with fewer heads than codes the smallest ones are noise. Of 0.02, 0.1, 0.3 and 0.5
the one whose codes of held-out heads were nearest to the prior."""
APART = 5
"""Every fifth head is held out to see how far the codes of heads spread that a fit has not seen."""

Fit = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]
"""From rows of heads (N, F) and of their varied copies (C * N, F) to what gives codes (M, K) of rows (M, F)."""


def principal_directions(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return directions (k, F), orthonormal, and sums of squares (k,) along them, falling; k at most ``count``.

    rows: (N, F), centred or not, N below F. By the small matrix of products of rows with each other.
    """
    wide = rows.double()
    squares, left = torch.linalg.eigh(wide @ wide.T)
    squares, left = squares.flip(0)[:count], left.flip(1)[:, :count]
    kept = squares > 1e-9 * squares[0].clamp_min(1e-300)
    squares, left = squares[kept], left[:, kept]
    return ((left.T @ wide) / squares.sqrt()[:, None]).to(rows.dtype), squares.to(rows.dtype)


def whitening(codes: Tensor) -> Tensor:
    """Return (K, K): centred ``codes`` (N, K) times it have variances of about 1 and little correlation.

    Shrunk correlations to the power of -1/2, so that each code stays itself as far as it can (ZCA-cor; Kessy, Lewin,
    Strimmer, "Optimal whitening and decorrelation", American Statistician 2018). A code that does not vary becomes 0.
    """
    wide = codes.double()
    deviation = wide.std(dim=0, correction=0)
    used = deviation > 1e-9 * deviation.max().clamp_min(1e-300)
    inverse = torch.where(used, 1.0 / deviation.where(used, torch.ones_like(deviation)), 0.0)
    standard = (wide - wide.mean(dim=0)) * inverse
    correlation = (1.0 - SHRINKAGE) * standard.T @ standard / len(codes)
    correlation += SHRINKAGE * torch.eye(codes.shape[1], dtype=wide.dtype)
    values, vectors = torch.linalg.eigh(correlation)
    # A code that does not vary has no correlation: only the shrinkage is left of its own place.
    root = (vectors * values.clamp_min(1e-9).rsqrt()) @ vectors.T
    return (inverse[:, None] * root).to(codes.dtype)


def unseen_scale(fit: Fit, heads: Tensor, varied: Tensor) -> float:
    """Return what codes of heads that a fit has not seen must be multiplied by to have an average square of 1.

    By one fit without every fifth head; with fewer than ten heads none can be spared, and it is 1.
    """
    if len(heads) < 2 * APART:
        return 1.0
    apart = torch.arange(len(heads)) % APART == APART - 1
    own_copies = (~apart).repeat(len(varied) // len(heads))
    encode = fit(heads[~apart], varied[own_copies])
    square = float(encode(heads[apart]).square().mean())
    return square**-0.5 if square > 0 else 1.0


def fit_for_unseen(fit: Fit, layer: nn.Linear, heads: Tensor, varied: Tensor) -> None:
    """Have ``fit`` set ``layer`` by all heads, then scale it so that unseen ones have an average square of 1 in it."""
    scale = unseen_scale(fit, heads, varied)
    fit(heads, varied)
    layer.weight.mul_(scale)
    layer.bias.mul_(scale)
