"""A linear view of the head beside the convolutions, which starts at the training heads' principal components."""

import math
from collections.abc import Callable

import torch
from scipy.linalg import hadamard
from torch import Tensor, nn

from med3d_export.networks.config import NetworkConfig
from med3d_export.networks.local_contrast import LocalContrast


class LinearPath(nn.Module):
    """Local contrast, ``linear_rank`` principal directions, then the latent.

    With a hundred subjects the principal components of local contrast are hard to beat, so training starts there.
    """

    def __init__(self, mean_head: Tensor, config: NetworkConfig) -> None:
        super().__init__()
        self.contrast = LocalContrast(mean_head)
        self.to_rank = nn.Linear(self.contrast.size, config.linear_rank)
        nn.init.zeros_(self.to_rank.bias)
        self.to_latent = nn.Linear(config.linear_rank, config.latent, bias=False)
        nn.init.orthogonal_(self.to_latent.weight)

    def views(self, tensor: Tensor, difference: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002 - the other path's
        """Return local contrast of heads (N, 1, X, Y, Z)."""
        return (self.contrast(tensor),)

    def forward(self, contrast: Tensor) -> Tensor:
        """Return latents (N, latent) of what ``contrast`` gives (N, features)."""
        latent: Tensor = self.to_latent(self.to_rank(contrast))
        return latent

    def start_from(self, heads: Tensor, varied: Tensor, difference: Callable[[Tensor], Tensor]) -> None:  # noqa: ARG002
        """Take the principal directions of the training heads (N, 1, X, Y, Z); their copies have no part in them.

        The latent's average variance becomes 1/2. A rotation spreads the components over all dimensions, so that
        standardising each keeps distances.
        """
        with torch.no_grad():
            self.contrast.start_from(heads)
            contrast = self.contrast(heads)
            mean = contrast.mean(dim=0)
            _, singular, directions = torch.linalg.svd(contrast - mean, full_matrices=False)
            # Centred heads span one dimension fewer than there are heads.
            kept = min(self.to_rank.out_features, len(heads) - 1)
            self.to_rank.weight.zero_()
            self.to_rank.weight[:kept] = directions[:kept]
            self.to_rank.bias.copy_(-(self.to_rank.weight @ mean))
            latent = self.to_latent.out_features
            scale = (0.5 * latent * len(heads) / singular[:kept].square().sum()).sqrt()
            columns = min(kept, latent)
            self.to_latent.weight.zero_()
            self.to_latent.weight[:, :columns] = scale * spread_evenly(latent, columns)


def spread_evenly(latent: int, count: int) -> Tensor:
    """Return (latent, count) orthonormal columns that reach every dimension alike, so that all get the same variance.

    Those of a Hadamard matrix where ``latent`` is a power of two; else random ones, which do so on average only.
    """
    if latent & (latent - 1) == 0:
        return torch.from_numpy(hadamard(latent)[:, :count] / math.sqrt(latent)).float()
    return nn.init.orthogonal_(torch.empty(latent, count))
