"""Maximum mean discrepancy between the aggregated posterior and the standard normal prior, from small batches.

Gretton et al., "A Kernel Two-Sample Test", JMLR 2012.
"""

import torch
from torch import Tensor

from med3d_export.objectives.kernels import Kernel


def maximum_mean_discrepancy(latents: Tensor, banked: Tensor, kernel: Kernel) -> Tensor:
    """Return unbiased estimate of MMD^2, a scalar that may be below 0 by chance.

    latents: (N, d), of this batch. banked: (M, d), of past ones, without a gradient; may be empty. A batch of one with
    an empty bank has no pair to compare, so its own term is left out.

    A pair inside the batch moves at both ends, one with the bank at one end only, though the expectation's gradient
    has both: the latter's gradient is doubled. Otherwise latents would be pulled towards the prior's middle at full
    strength and kept apart from each other at half, and the aggregated posterior would come out too narrow.
    """
    count, others = latents.shape[0], banked.shape[0]
    within = kernel.between(latents, latents)
    pair_sum = within.sum() - within.diagonal().sum()
    pairs = count * (count - 1)
    if others:
        across = kernel.between(latents, banked).sum()
        pair_sum = pair_sum + 2.0 * across - across.detach()
        pairs += count * others
    own = pair_sum / pairs if pairs else latents.new_zeros(())
    return own - 2.0 * kernel.with_prior(latents).mean() + kernel.within_prior(latents.shape[1])


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
        joined = torch.cat([self.latents.to(latents), latents.detach()])
        self.latents = joined[max(0, len(joined) - self.capacity) :]
