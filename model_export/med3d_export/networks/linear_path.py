"""A linear view of the head beside the convolutions, which starts at the principal components of voxels."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

BOX_THRESHOLD = 0.05
"""Share of the mean head's brightest value under which a voxel is outside the brain."""


class LinearPath(nn.Module):
    """Half resolution, ``rank`` directions, then the latent.

    Input: (N, 1, X, Y, Z) differences from the mean head, in units of their spread; what lies outside ``box`` is not
    looked at. With a hundred subjects the principal components of voxels are hard to beat, so training starts there.
    """

    def __init__(self, mean_head: Tensor, rank: int, latent: int) -> None:
        super().__init__()
        self.box = _even_box(mean_head)
        features = math.prod((side.stop - side.start) // 2 for side in self.box)
        self.to_rank = nn.Linear(features, rank, bias=False)
        self.to_latent = nn.Linear(rank, latent, bias=False)
        nn.init.orthogonal_(self.to_latent.weight)

    def coarse(self, difference: Tensor) -> Tensor:
        """(N, features): the box at half resolution; the hyperbolic tangent keeps single voxels from dominating."""
        x, y, z = self.box
        return functional.avg_pool3d(difference[:, :, x, y, z].tanh(), 2).flatten(1)

    def forward(self, coarse: Tensor) -> Tensor:
        """Latents (N, latent) of what ``coarse`` gives."""
        latent: Tensor = self.to_latent(self.to_rank(coarse))
        return latent

    def start_from(self, differences: Tensor) -> None:
        """Take the principal directions of training heads; the latent's average variance becomes 1/2.

        A random rotation spreads them over all dimensions, so that standardising each keeps distances.
        """
        with torch.no_grad():
            coarse = 0.5 * (self.coarse(differences) + self.coarse(differences.flip(2)))
            centred = coarse - coarse.mean(dim=0)
            _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
            kept = min(len(self.to_rank.weight), len(directions))
            variance = singular[:kept].square().sum() / len(centred)
            scale = (0.5 * self.to_latent.out_features / variance).sqrt()
            self.to_rank.weight.zero_()
            self.to_rank.weight[:kept] = scale * directions[:kept]


def _even_box(mean_head: Tensor) -> tuple[slice, slice, slice]:
    """The box around the mean head, each side begun and ended on an even voxel; symmetric from left to right."""
    sides = []
    for axis, size in enumerate(mean_head.shape):
        others = [other for other in range(3) if other != axis]
        held = torch.nonzero(mean_head.amax(dim=others) > BOX_THRESHOLD * mean_head.max()).flatten()
        low, high = (int(held[0]), int(held[-1]) + 1) if len(held) else (0, size)
        if axis == 0:
            low = min(low, size - high)
            high = size - low
        sides.append(slice(low - low % 2, min(size, high + high % 2)))
    return (sides[0], sides[1], sides[2])
