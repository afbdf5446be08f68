"""A linear way back from the latent to the head beside the convolutions, which starts at a ridge regression."""

import torch
from torch import Tensor, nn

from med3d_export.networks.config import NetworkConfig
from med3d_export.networks.half_box import HalfBox
from med3d_export.networks.ridge import fit_ridge


class LinearReconstruction(nn.Module):
    """The latent, ``linear_decoder_rank`` directions, then the box around the brain at half resolution.

    What a linear decoder can say of a new head after a hundred others it says from the start; the convolutions, which
    start at zero, add to it.
    """

    def __init__(self, mean_head: Tensor, config: NetworkConfig) -> None:
        super().__init__()
        self.box = HalfBox.around(mean_head)
        self.to_rank = nn.Linear(config.latent, config.linear_decoder_rank, bias=False)
        self.to_voxels = nn.Linear(config.linear_decoder_rank, self.box.size)
        nn.init.zeros_(self.to_voxels.weight)
        nn.init.zeros_(self.to_voxels.bias)

    def forward(self, latent: Tensor) -> Tensor:
        """Return differences from the mean head (N, 1, X, Y, Z) in units of the spread, the same left and right."""
        return self.box.unfold(self.to_voxels(self.to_rank(latent)))

    def start_from(self, latents: Tensor, differences: Tensor) -> None:
        """Fit a ridge regression of the training heads' differences (N, 1, X, Y, Z) on their latents (N, latent)."""
        with torch.no_grad():
            voxels = self.box.fold(self.box.cut(differences))
            mean, middle = latents.mean(dim=0), voxels.mean(dim=0)
            left, singular, directions = torch.linalg.svd(latents - mean, full_matrices=False)
            # Centred latents span one dimension fewer than there are heads.
            kept = min(self.to_rank.out_features, int((singular > 1e-4 * singular[0]).sum()))
            left, singular, directions = left[:, :kept], singular[:kept], directions[:kept]
            ridge = fit_ridge(left, singular, voxels - middle)
            self.to_rank.weight.zero_()
            self.to_rank.weight[:kept] = directions
            self.to_voxels.weight.zero_()
            self.to_voxels.weight[:, :kept] = ridge.weights.T
            self.to_voxels.bias.copy_(middle - self.to_voxels.weight[:, :kept] @ (directions @ mean))
