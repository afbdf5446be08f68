"""The two networks of the autoencoder, of MONAI's blocks: residual encoder, resize-convolution decoder.

Tensors are (N, 1, X, Y, Z) float32 on the preprocessing grid; X, Y and Z are multiples of 16. GroupNorm throughout, so
that a batch of one trains and predicts alike.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution, UpSample
from monai.networks.blocks.segresnet_block import ResBlock
from torch import Tensor, nn
from torch.nn import functional

BOX_THRESHOLD = 0.05
"""Share of the mean head's brightest value under which a voxel is outside the brain."""
START_LOG_VARIANCE = -3.0
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


class LinearPath(nn.Module):
    """A linear view of the head beside the convolutions: half resolution, ``rank`` directions, then the latent.

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


class Encoder(nn.Module):
    """From a tensor (N, 1, X, Y, Z) to the mean and log variance of the posterior, each (N, latent).

    ``mean_head`` (X, Y, Z) is taken away first and the rest divided by ``spread``, so that the network sees how a head
    differs from the average one. Both come from the training subjects alone. The mean is the sum of a residual
    convolutional path, which starts at zero, and a linear one.
    """

    mean_head: Tensor
    spread: Tensor

    def __init__(self, mean_head: Tensor, spread: float, channels: Sequence[int], rank: int, latent: int) -> None:
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
        nn.init.zeros_(self.to_posterior.weight)
        nn.init.zeros_(self.to_posterior.bias)
        nn.init.constant_(self.to_posterior.bias[latent:], START_LOG_VARIANCE)
        self.linear = LinearPath(mean_head, rank, latent)

    def forward(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, each (N, latent); the log variance is held within [-8, 4]."""
        difference = self.difference(tensor)
        mean, log_variance = self.to_posterior(self.features(difference).flatten(1)).chunk(2, dim=1)
        return mean + self.linear(self.linear.coarse(difference)), log_variance.clamp(-8.0, 4.0)

    def difference(self, tensor: Tensor) -> Tensor:
        """How the head differs from the mean head, in units of the training heads' spread."""
        return (tensor - self.mean_head) / self.spread


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
        # The two views are averaged before the last layers, which are linear: half the work, the same mean.
        views = [self.encoder.difference(view) for view in (tensor, tensor.flip(2))]
        features, mirrored = (self.encoder.features(view).flatten(1) for view in views)
        coarse, mirrored_coarse = (self.encoder.linear.coarse(view) for view in views)
        mean: Tensor = self.to_mean(0.5 * (features + mirrored))
        return mean + self.encoder.linear(0.5 * (coarse + mirrored_coarse))
