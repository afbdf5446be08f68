"""The two networks of the autoencoder, of MONAI's blocks: residual encoder, resize-convolution decoder.

Tensors are (N, 1, X, Y, Z) float32 on the preprocessing grid; X, Y and Z are multiples of 16. GroupNorm throughout, so
that a batch of one trains and predicts alike.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution, UpSample
from monai.networks.blocks.segresnet_block import ResBlock
from torch import Tensor, nn

STAGES = 4
"""Halvings of the grid between the tensor and the flat features."""

_ACTIVATION = ("LeakyReLU", {"negative_slope": 0.1})


def _group_norm(channels: int) -> tuple[str, dict[str, int]]:
    return ("GROUP", {"num_groups": min(8, channels)})


def _residual(channels: int) -> ResBlock:
    return ResBlock(3, channels, norm=_group_norm(channels), act=_ACTIVATION)


def _normalised(channels: int) -> list[nn.Module]:
    return [nn.GroupNorm(min(8, channels), channels), nn.LeakyReLU(0.1)]


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> Convolution:
    return Convolution(3, channels_in, channels_out, strides=stride, kernel_size=3, conv_only=True)


def _coarse_shape(grid: Sequence[int]) -> tuple[int, int, int]:
    if len(grid) != 3 or any(size % 2**STAGES or size <= 0 for size in grid):
        raise ValueError(f"each axis of the grid must be a multiple of {2**STAGES}, not {tuple(grid)}")
    x, y, z = (size // 2**STAGES for size in grid)
    return (x, y, z)


class Encoder(nn.Module):
    """From a tensor (N, 1, X, Y, Z) to the mean and log variance of the posterior, each (N, latent).

    ``mean_head`` (X, Y, Z) is taken away first and the rest divided by ``spread``, so that the network sees how a head
    differs from the average one. Both come from the training subjects alone.
    """

    mean_head: Tensor
    spread: Tensor

    def __init__(self, mean_head: Tensor, spread: float, channels: Sequence[int], latent: int) -> None:
        super().__init__()
        if len(channels) != STAGES:
            raise ValueError(f"one channel count per stage: {STAGES}, not {len(channels)}")
        self.register_buffer("mean_head", mean_head[None, None].clone())
        self.register_buffer("spread", torch.tensor(float(spread)))
        stages: list[nn.Module] = [_convolution(1, channels[0], stride=2), *_normalised(channels[0])]
        for before, after in pairwise(channels):
            stages += [_convolution(before, after, stride=2), _residual(after)]
        stages += _normalised(channels[-1])
        self.features = nn.Sequential(*stages)
        x, y, z = _coarse_shape(mean_head.shape)
        self.to_posterior = nn.Linear(channels[-1] * x * y * z, 2 * latent)

    def forward(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, each (N, latent); the log variance is held within [-8, 4]."""
        mean, log_variance = self.to_posterior(self.flat_features(tensor)).chunk(2, dim=1)
        return mean, log_variance.clamp(-8.0, 4.0)

    def flat_features(self, tensor: Tensor) -> Tensor:
        """What the last layer sees, (N, features)."""
        features: Tensor = self.features((tensor - self.mean_head) / self.spread)
        return features.flatten(1)


class Decoder(nn.Module):
    """From latents (N, latent) to a tensor (N, 1, X, Y, Z) by resize-convolutions.

    Transposed convolutions would leave a checkerboard (Odena et al., Distill 2016).
    """

    mean_head: Tensor
    spread: Tensor

    def __init__(self, mean_head: Tensor, spread: float, channels: Sequence[int], latent: int) -> None:
        super().__init__()
        self.register_buffer("mean_head", mean_head[None, None].clone())
        self.register_buffer("spread", torch.tensor(float(spread)))
        self.coarse_shape = _coarse_shape(mean_head.shape)
        self.coarse_channels = channels[-1]
        x, y, z = self.coarse_shape
        self.from_latent = nn.Linear(latent, channels[-1] * x * y * z)
        stages: list[nn.Module] = []
        backwards = list(channels)[::-1]
        for before, after in pairwise(backwards):
            stages += [_residual(before), _doubled(before, after)]
        # No residual block on the two finest grids: they would take nine tenths of the decoder's time.
        stages += [nn.LeakyReLU(0.1), _doubled(backwards[-1], 1)]
        self.image = nn.Sequential(*stages)

    def forward(self, latent: Tensor) -> Tensor:
        """The reconstruction on the preprocessing grid."""
        coarse = self.from_latent(latent).reshape(-1, self.coarse_channels, *self.coarse_shape)
        return self.mean_head + self.spread * self.image(coarse)


def _doubled(channels_in: int, channels_out: int) -> UpSample:
    """Resize and convolve in one: the sub-pixel form that starts as a nearest-neighbour resize (Aitken et al. 2017)."""
    return UpSample(3, channels_in, channels_out, scale_factor=2, mode="pixelshuffle", apply_pad_pool=False)


class SymmetricMean(nn.Module):
    """The encoder as it is released: the posterior's mean, averaged over the tensor and its left-right mirror image.

    No noise is drawn, so the same tensor always gives the same latent. The variance's weights are left out.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        whole = encoder.to_posterior
        latent = whole.out_features // 2
        self.to_mean = nn.Linear(whole.in_features, latent)
        self.to_mean.load_state_dict({"weight": whole.weight[:latent], "bias": whole.bias[:latent]})

    def forward(self, tensor: Tensor) -> Tensor:
        """Latents (N, latent)."""
        # Both views in one mean: the last layer is linear.
        features = 0.5 * (self.encoder.flat_features(tensor) + self.encoder.flat_features(tensor.flip(2)))
        mean: Tensor = self.to_mean(features)
        return mean
