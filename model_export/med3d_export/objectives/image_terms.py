"""Optional terms of the reconstruction beside the squared error: structure and edges."""

import torch
from monai.losses import SSIMLoss
from torch import Tensor

from med3d_export.config_section import NotNegative, Section
from med3d_export.objectives.interface import Penalty, Seen

BRIGHTEST = 1.25
"""The tensor's range: preprocessing clips there."""
WINDOW = 7


class ImageTermsConfig(Section):
    """Weights per voxel of 1 - SSIM and of the mean absolute error of the edges; 0: none."""

    ssim_weight: NotNegative = 0.0
    gradient_weight: NotNegative = 0.0

    def penalties(self, seen: Seen) -> tuple[Penalty, ...]:
        """Return the terms whose weight is above 0."""
        found = []
        if self.ssim_weight:
            found.append(Penalty("ssim", structural_dissimilarity(seen.tensor, seen.reconstructed), self.ssim_weight))
        if self.gradient_weight:
            found.append(Penalty("gradient", edge_error(seen.tensor, seen.reconstructed), self.gradient_weight))
        return tuple(found)


def structural_dissimilarity(tensor: Tensor, reconstructed: Tensor) -> Tensor:
    """Return 1 - SSIM, a scalar in [0, 2]: Gaussian window of 7 voxels, range 0 to BRIGHTEST, mean over all."""
    loss = SSIMLoss(spatial_dims=3, data_range=BRIGHTEST, win_size=WINDOW)
    return loss(reconstructed, tensor)


def edge_error(tensor: Tensor, reconstructed: Tensor) -> Tensor:
    """Tell how far differences between neighbouring voxels are off: mean over axes and voxels of |error|, a scalar."""
    error = reconstructed - tensor
    return torch.stack([error.diff(dim=axis).abs().mean() for axis in (2, 3, 4)]).mean()
