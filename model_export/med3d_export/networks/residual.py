"""Our own backbone, of MONAI's blocks: residual encoder, resize-convolution decoder."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution, UpSample
from monai.networks.blocks.segresnet_block import ResBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from med3d_export.networks.code_path import CodePath
from med3d_export.networks.config import NetworkConfig
from med3d_export.networks.difference import HeadStatistics
from med3d_export.networks.latent_decoder import LatentDecoder
from med3d_export.networks.linear_path import LinearPath
from med3d_export.networks.linear_reconstruction import LinearReconstruction
from med3d_export.networks.local_codes import LocalReconstruction
from med3d_export.networks.posterior import PosteriorEncoder, start_small_variance

_ACTIVATION = ("LeakyReLU", {"negative_slope": 0.1})
MOST_GROUPS = 8


class Stages(nn.Sequential):
    """Stages one after the other; with ``recomputed`` their activations are computed twice instead of kept."""

    def __init__(self, stages: Sequence[nn.Module], config: NetworkConfig) -> None:
        super().__init__(*stages)
        self.recomputed = config.checkpointing == "activations"

    def forward(self, tensor: Tensor) -> Tensor:
        """Return what the last stage gives."""
        for stage in self:
            if self.recomputed and self.training and torch.is_grad_enabled():
                tensor = checkpoint(stage, tensor, use_reentrant=False)
            else:
                tensor = stage(tensor)
        return tensor


class ResidualEncoder(PosteriorEncoder):
    """The mean is the sum of a residual convolutional path and, where ``linear_rank`` is above 0, a linear one.

    Beside a linear path, which starts in closed form, the convolutional one starts at zero.
    """

    def __init__(self, heads: HeadStatistics, config: NetworkConfig) -> None:
        super().__init__(heads, config.latent)
        channels = config.encoder_channels
        stages: list[nn.Module] = [
            nn.Sequential(_convolution(1, channels[0], stride=2), *_normalised(channels[0])),
            *(nn.Sequential(_convolution(a, b, stride=2), _residual(b)) for a, b in pairwise(channels)),
            nn.Sequential(*_normalised(channels[-1])),
        ]
        self.features = Stages(stages, config)
        size = channels[-1] * math.prod(coarse_shape(heads.mean_head.shape, len(channels)))
        self.to_mean, self.to_log_variance = nn.Linear(size, config.latent), nn.Linear(size, config.latent)
        start_small_variance(self.to_log_variance)
        self.linear: LinearPath | CodePath | None = None
        if config.linear_rank:
            nn.init.zeros_(self.to_mean.weight)
            nn.init.zeros_(self.to_mean.bias)
            self.linear = (CodePath if config.local_codes else LinearPath)(heads.mean_head, config)

    def views(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Return convolutional features and what the linear path looks at."""
        difference = self.difference(tensor)
        features = self.features(difference).flatten(1)
        return (features,) if self.linear is None else (features, *self.linear.views(tensor, difference))

    def mean_of(self, views: tuple[Tensor, ...]) -> Tensor:
        """Return the sum of both paths."""
        mean: Tensor = self.to_mean(views[0])
        return mean if self.linear is None else mean + self.linear(*views[1:])

    def log_variance_of(self, views: tuple[Tensor, ...]) -> Tensor:
        """Encode by the convolutional path alone."""
        log_variance: Tensor = self.to_log_variance(views[0])
        return log_variance

    def linear_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of the linear path."""
        return iter(()) if self.linear is None else self.linear.parameters()

    def code_spreads(self) -> Tensor:
        """Return codes of the whole head count by how far they spread before they were whitened."""
        spreads = super().code_spreads()
        if isinstance(self.linear, CodePath):
            spreads[: len(self.linear.spreads)] = self.linear.spreads
        return spreads

    def start_from(self, images: Tensor, varied: Tensor) -> None:
        """Return the linear path at the principal components of the training heads.

        Cubes' also of their varied copies.
        """
        if self.linear is not None:
            self.linear.start_from(images, varied, self.difference)


class ResizeDecoder(LatentDecoder):
    """Resize-convolutions and beside them, where the recipe has one, a linear path.

    Transposed convolutions would leave a checkerboard (Odena et al., Distill 2016).
    """

    def __init__(self, heads: HeadStatistics, config: NetworkConfig) -> None:
        super().__init__(heads)
        backwards = config.decoder_channels[::-1]
        self.coarse_channels = backwards[0]
        self.coarse_shape = coarse_shape(heads.mean_head.shape, len(backwards))
        self.from_latent = nn.Linear(config.latent, backwards[0] * math.prod(self.coarse_shape))
        # No residual block on the two finest grids: they would take nine tenths of the decoder's time.
        stages = [nn.Sequential(_residual(a), _doubled(a, b, config)) for a, b in pairwise(backwards)]
        finest = nn.Sequential(nn.LeakyReLU(0.1), _doubled(backwards[-1], 1, config))
        self.image = Stages([*stages, finest], config)
        self.linear: LinearReconstruction | LocalReconstruction | None = None
        if config.local_codes or config.linear_decoder_rank:
            _silence(finest)
            kind = LocalReconstruction if config.local_codes else LinearReconstruction
            self.linear = kind(heads.mean_head, config)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the reconstruction on the preprocessing grid."""
        coarse = self.from_latent(latent).reshape(-1, self.coarse_channels, *self.coarse_shape)
        image = self.image(coarse)
        return self.head(image if self.linear is None else image + self.linear(latent))

    def linear_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of the linear path."""
        return iter(()) if self.linear is None else self.linear.parameters()

    def start_from(self, encoder: PosteriorEncoder, encode: Callable[[], Tensor], images: Tensor) -> None:
        """Return the linear path at the cubes' components of ``encoder``, or at the ridge regression on latents."""
        if isinstance(self.linear, LinearReconstruction):
            self.linear.start_from(encode(), self.difference(images))
        elif self.linear is not None and isinstance(encoder, ResidualEncoder) and isinstance(encoder.linear, CodePath):
            self.linear.start_from(encoder.linear.local)


def coarse_shape(grid: Sequence[int], halvings: int) -> tuple[int, int, int]:
    """Return the grid after ``halvings``. Raises ValueError where an axis cannot be halved so often."""
    if len(grid) != 3 or any(size % 2**halvings or size <= 0 for size in grid):
        raise ValueError(f"each axis of the grid must be a multiple of {2**halvings}, not {tuple(grid)}")
    x, y, z = (size // 2**halvings for size in grid)
    return (x, y, z)


def _silence(stage: nn.Module) -> None:
    """Let the convolutional path start at zero."""
    last = [layer for layer in stage.modules() if isinstance(layer, nn.Conv3d)][-1]
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)


def _groups(channels: int) -> int:
    return math.gcd(MOST_GROUPS, channels)


def _residual(channels: int) -> ResBlock:
    return ResBlock(3, channels, norm=("GROUP", {"num_groups": _groups(channels)}), act=_ACTIVATION)


def _normalised(channels: int) -> list[nn.Module]:
    return [nn.GroupNorm(_groups(channels), channels), nn.LeakyReLU(0.1)]


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> Convolution:
    return Convolution(3, channels_in, channels_out, strides=stride, kernel_size=3, conv_only=True)


def _doubled(channels_in: int, channels_out: int, config: NetworkConfig) -> nn.Module:
    """Resize and convolve.

    ``subpixel`` does both in one and starts as a nearest-neighbour resize (Aitken et al. 2017), at an eighth of the
    cost; ``trilinear`` resizes first.
    """
    if config.resize == "subpixel":
        doubled = UpSample(3, channels_in, channels_out, scale_factor=2, mode="pixelshuffle", apply_pad_pool=False)
        # MONAI starts the weights alike for all eight places of a voxel, but not the biases: a checkerboard.
        nn.init.zeros_(doubled.pixelshuffle.conv_block.bias)
        return doubled
    resized = UpSample(
        3, channels_in, scale_factor=2, mode="nontrainable", interp_mode="trilinear", align_corners=False
    )
    return nn.Sequential(resized, _convolution(channels_in, channels_out))
