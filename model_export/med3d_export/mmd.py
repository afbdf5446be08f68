"""Maximum mean discrepancy between the aggregated posterior and the standard normal prior.

Gretton et al., "A Kernel Two-Sample Test", JMLR 2012; the kernel is the sum of inverse multiquadrics of Tolstikhin et
al., "Wasserstein Auto-Encoders", ICLR 2018. Its scales are tied to 2 d, the expected squared distance of two draws from
the prior in d dimensions: the often copied exp(-|x - y|^2 / d^2) is flat at 512 dimensions and cannot see a posterior
that has collapsed.
"""

import torch
from torch import Tensor

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
PRIOR_DRAWS = 256


def inverse_multiquadric(left: Tensor, right: Tensor) -> Tensor:
    """Kernel matrix (N, M) of latents (N, d) and (M, d): the mean over scales s of c / (c + |x - y|^2), c = 2 d s.

    1 where two latents agree, towards 0 where they are far apart.
    """
    dimension = left.shape[1]
    squared = (left.square().sum(1, keepdim=True) + right.square().sum(1)[None] - 2.0 * left @ right.T).clamp_min(0.0)
    kernel = torch.zeros_like(squared)
    for scale in SCALES:
        constant = 2.0 * dimension * scale
        kernel = kernel + constant / (constant + squared)
    return kernel / len(SCALES)


def _mean_without_diagonal(kernel: Tensor) -> Tensor:
    count = kernel.shape[0]
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))


def maximum_mean_discrepancy(latents: Tensor, banked: Tensor, prior: Tensor) -> Tensor:
    """MMD^2, unbiased but for the age of the bank, as a scalar that may fall a little below 0.

    latents: (N, d) of this batch, the only ones through which a gradient flows. banked: (B, d) of earlier batches,
    detached; may be empty. prior: (P, d) draws of N(0, I); more are drawn until there are PRIOR_DRAWS. A batch of one
    with an empty bank has no pair to compare, so its own term is left out.
    """
    if prior.shape[0] < PRIOR_DRAWS:
        more = torch.randn(PRIOR_DRAWS - prior.shape[0], prior.shape[1], dtype=prior.dtype, device=prior.device)
        prior = torch.cat([prior, more])
    count, others = latents.shape[0], banked.shape[0]
    within = inverse_multiquadric(latents, latents)
    pair_sum = within.sum() - within.diagonal().sum()
    pairs = count * (count - 1)
    if others:
        pair_sum = pair_sum + inverse_multiquadric(latents, banked).sum()
        pairs += count * others
    own = pair_sum / pairs if pairs else latents.new_zeros(())
    across = inverse_multiquadric(latents, prior).mean()
    return own - 2.0 * across + _mean_without_diagonal(inverse_multiquadric(prior, prior))


class LatentBank:
    """The last ``capacity`` latents, first in first out, detached from their graph.

    A batch of 8 cannot show the shape of a 512-d distribution; the batches before it help. The capacity should leave
    out one batch of the training set, or the bank would hold the very subjects that it is compared with.
    """

    def __init__(self, capacity: int, dimension: int) -> None:
        if capacity < 0:
            raise ValueError("a bank cannot hold fewer than 0 latents")
        self.capacity = capacity
        self.latents = torch.empty(0, dimension)

    def push(self, latents: Tensor) -> None:
        """Keep ``latents`` (N, d) and forget the oldest beyond the capacity."""
        joined = torch.cat([self.latents, latents.detach()])
        self.latents = joined[max(0, len(joined) - self.capacity) :]
