"""What training does to a tensor before the network sees it; never used outside training.

All of it on one batch (N, 1, X, Y, Z) at once, driven by the generator of the step, which lies where the tensor does.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Generator, Tensor

from med3d_export.augmentation_config import AugmentationConfig

BATCH = 16


@dataclass(frozen=True)
class Augmentation:
    """Left-right flips, small affine jitter, and how scanners differ: contrast, gain, shading, sharpness, noise."""

    config: AugmentationConfig

    def __call__(self, tensor: Tensor, generator: Generator) -> Tensor:
        """Return a new batch of the same shape; the background stays 0."""
        return _Draws(self.config, generator).augmented(tensor)

    def mix(self, tensor: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Blend each tensor with another one of the batch (Zhang et al., "mixup", ICLR 2018).

        Returns the blend, the partners' indices (N,) and each one's own share (N,), so that targets can be blended too.
        """
        count, device = tensor.shape[0], generator.device
        own = 1.0 - self.config.mixup * torch.rand(count, generator=generator, device=device)
        partner = torch.randperm(count, generator=generator, device=device)
        if not self.config.mixup:
            return tensor, partner, own
        share = own.view(-1, 1, 1, 1, 1)
        return share * tensor + (1.0 - share) * tensor[partner], partner, own


def vary_some_at_a_time(images: Tensor, augmentation: Augmentation, generator: Generator) -> Tensor:
    """Return one varied copy of each of ``images`` (N, 1, X, Y, Z), nobody mixed with anybody."""
    with torch.no_grad():
        return torch.cat([augmentation(part, generator) for part in images.split(BATCH)])


def blurred_along(tensor: Tensor, axis: int) -> Tensor:
    """Make each voxel half itself and a quarter each neighbour along ``axis``; beyond the edge lies 0.

    Sums of shifted copies: a convolution of one channel takes ten times as long on a CPU.
    """
    reach = tensor.shape[axis] - 1
    blurred = 0.5 * tensor
    blurred.narrow(axis, 1, reach).add_(tensor.narrow(axis, 0, reach), alpha=0.25)
    blurred.narrow(axis, 0, reach).add_(tensor.narrow(axis, 1, reach), alpha=0.25)
    return blurred


@dataclass(frozen=True)
class _Draws:
    config: AugmentationConfig
    generator: Generator

    def augmented(self, tensor: Tensor) -> Tensor:
        return self._scanner(self._jitter(self._flip(tensor)))

    def _flip(self, tensor: Tensor) -> Tensor:
        mirrored = self._uniform((tensor.shape[0],)) < self.config.flip_probability
        return torch.where(mirrored.view(-1, 1, 1, 1, 1), tensor.flip(2), tensor)

    def _jitter(self, tensor: Tensor) -> Tensor:
        count, shape = tensor.shape[0], tensor.shape[2:]
        theta = torch.zeros(count, 3, 4, device=tensor.device)
        theta[:, :, :3] = self._rotation(count) * (1.0 + self._symmetric((count, 1, 3), self.config.scale))
        reach = torch.tensor([2.0 / size for size in shape[::-1]], device=tensor.device)
        theta[:, :, 3] = self._symmetric((count, 3), self.config.shift_voxels) * reach
        grid = F.affine_grid(theta, list(tensor.shape), align_corners=False)
        if self.config.elastic_voxels:
            grid = grid + self._bent(tensor) * reach
        return F.grid_sample(tensor, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _bent(self, tensor: Tensor) -> Tensor:
        """Return voxels (N, X, Y, Z, 3) by which a smooth deformation moves what is seen."""
        points = self._symmetric((tensor.shape[0], 3, 8, 8, 8), self.config.elastic_voxels)
        return F.interpolate(points, list(tensor.shape[2:]), mode="trilinear", align_corners=True).movedim(1, -1)

    def _rotation(self, count: int) -> Tensor:
        angles = self._symmetric((count, 3), math.radians(self.config.rotation_deg))
        skew = torch.zeros(count, 3, 3, device=angles.device)
        skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = angles.T
        rotation: Tensor = torch.matrix_exp(skew - skew.transpose(1, 2))
        return rotation

    def _symmetric(self, shape: tuple[int, ...], reach: float) -> Tensor:
        return reach * (2.0 * self._uniform(shape) - 1.0)

    def _uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.generator.device)

    def _scanner(self, tensor: Tensor) -> Tensor:
        count = tensor.shape[0]
        brain = tensor > 0
        smooth = F.avg_pool3d(tensor, 3, stride=1, padding=1, count_include_pad=False)
        sharpness = self._symmetric((count, 1, 1, 1, 1), self.config.sharpness)
        varied = (tensor + sharpness * (tensor - smooth)).clamp_min(0.0)
        if self.config.thick_probability:
            varied = self._thickened(varied)
        gamma = (self._symmetric((count, 1, 1, 1, 1), self.config.log_gamma)).exp()
        gain = (self._symmetric((count, 1, 1, 1, 1), self.config.log_gain)).exp()
        varied = gain * varied.clamp_min(1e-6).pow(gamma) * self._shading(tensor)
        strength = self._uniform((count, 1, 1, 1, 1)) if self.config.noise_varies else 1.0
        noise = (
            self.config.noise_sd * strength * torch.randn(tensor.shape, generator=self.generator, device=tensor.device)
        )
        return torch.where(brain, varied + noise, torch.zeros((), device=tensor.device))

    def _thickened(self, tensor: Tensor) -> Tensor:
        """Return some heads blurred along some axes."""
        for axis in (2, 3, 4):
            thick = self._uniform((tensor.shape[0], 1, 1, 1, 1)) < self.config.thick_probability
            tensor = torch.where(thick, blurred_along(tensor, axis), tensor)
        return tensor

    def _shading(self, tensor: Tensor) -> Tensor:
        """Return what N4 leaves of the bias field: a smooth factor around 1, three control points to an axis."""
        coarse = self._symmetric((tensor.shape[0], 1, 3, 3, 3), self.config.log_shading)
        return F.interpolate(coarse, list(tensor.shape[2:]), mode="trilinear", align_corners=True).exp()
