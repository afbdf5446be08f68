"""A linear view of the head beside the convolutions, which starts at what the training heads say in closed form."""

import math

import torch
from scipy.linalg import hadamard
from torch import Tensor, nn

from med3d_export.networks.config import NetworkConfig
from med3d_export.networks.half_box import HalfBox
from med3d_export.networks.ridge import ridge_at


class LinearPath(nn.Module):
    """Half resolution, ``linear_rank`` principal directions, then the latent.

    Input: differences from the mean head, in units of their spread; the hyperbolic tangent keeps single voxels from
    dominating. With a hundred subjects the principal components of this are hard to beat, so training starts there.
    """

    def __init__(self, mean_head: Tensor, config: NetworkConfig) -> None:
        super().__init__()
        self.box = HalfBox.around(mean_head)
        self.label_share, self.label_penalty = config.label_share, config.label_penalty
        self.to_rank = nn.Linear(self.box.size, config.linear_rank)
        nn.init.zeros_(self.to_rank.bias)
        self.to_latent = nn.Linear(config.linear_rank, config.latent, bias=False)
        nn.init.orthogonal_(self.to_latent.weight)

    def coarse(self, difference: Tensor) -> Tensor:
        """(N, features) of differences (N, 1, X, Y, Z)."""
        return self.box.fold(self.box.cut(difference).tanh())

    def forward(self, coarse: Tensor) -> Tensor:
        """Latents (N, latent) of what ``coarse`` gives."""
        latent: Tensor = self.to_latent(self.to_rank(coarse))
        return latent

    def start_from(self, coarse: Tensor, labels: Tensor) -> Tensor:
        """Take the principal directions of the training heads' ``coarse`` (N, features) and what they say of labels.

        labels: (N, T) centred, each column as strongly as it is to count; T may be 0. The latent's average variance
        becomes 1/2: ``label_share`` of it ridge estimates of the labels, the rest principal components. A rotation
        spreads both over all dimensions, so that standardising each keeps distances.

        Returns what is to be added to the training heads' latents (N, latent) to make them those of heads that were
        not there: an estimate of a label that the ridge regression has seen is better than any that it will ever make.
        """
        with torch.no_grad():
            mean = coarse.mean(dim=0)
            left, singular, directions = torch.linalg.svd(coarse - mean, full_matrices=False)
            # Centred heads span one dimension fewer than there are heads.
            kept = min(self.to_rank.out_features, len(coarse) - 1)
            left, singular, directions = left[:, :kept], singular[:kept], directions[:kept]
            self.to_rank.weight.zero_()
            self.to_rank.weight[:kept] = directions
            self.to_rank.bias.copy_(-(self.to_rank.weight @ mean))
            return self._mix(left, singular, labels)

    def _mix(self, left: Tensor, singular: Tensor, labels: Tensor) -> Tensor:
        """Set the way from the principal components (columns of ``left * singular``) to the latent."""
        count, kept = left.shape
        total = 0.5 * self.to_latent.out_features
        share = self.label_share if labels.any() else 0.0
        ridge = ridge_at(left, singular, labels, self.label_penalty * float(singular.square().mean()))
        one = ((1.0 - share) * total * count / singular.square().sum()).sqrt()
        other = (share * total * count / ridge.unseen.square().sum().clamp_min(1e-12)).sqrt()
        # Rows: principal components, then labels; as heads that were not there have them, without correlations.
        unseen = torch.cat([one * left * singular, other * ridge.unseen], dim=1)
        uncorrelated = torch.linalg.eigh(unseen.T @ unseen)[1].flip(1)[:, : self.to_latent.out_features]
        turned = spread_evenly(self.to_latent.out_features, uncorrelated.shape[1]) @ uncorrelated.T
        self.to_latent.weight.zero_()
        self.to_latent.weight[:, :kept] = one * turned[:, :kept] + other * turned[:, kept:] @ ridge.weights.T
        return other * (ridge.unseen - ridge.seen) @ turned[:, kept:].T


def spread_evenly(latent: int, count: int) -> Tensor:
    """(latent, count) orthonormal columns that reach every dimension alike, so that all get the same variance.

    Those of a Hadamard matrix where ``latent`` is a power of two; else random ones, which do so on average only.
    """
    if latent & (latent - 1) == 0:
        return torch.from_numpy(hadamard(latent)[:, :count] / math.sqrt(latent)).float()
    return nn.init.orthogonal_(torch.empty(latent, count))
