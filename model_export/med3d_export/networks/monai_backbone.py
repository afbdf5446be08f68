"""MONAI's own variational autoencoder as a backbone, taken apart into an encoder and a decoder.

At inference the posterior's mean is the latent: MONAI's eval mode gives mean + standard deviation unless told
otherwise.
"""

import math

from monai.networks.nets import VarAutoEncoder
from torch import Tensor
from torch.nn import functional

from med3d_export.networks.config import NetworkConfig
from med3d_export.networks.difference import HeadStatistics
from med3d_export.networks.latent_decoder import LatentDecoder
from med3d_export.networks.posterior import PosteriorEncoder, start_small_variance
from med3d_export.networks.residual import MOST_GROUPS, coarse_shape


def _whole(heads: HeadStatistics, config: NetworkConfig) -> VarAutoEncoder:
    channels = config.encoder_channels
    coarse_shape(heads.mean_head.shape, len(channels))
    return VarAutoEncoder(
        spatial_dims=3,
        in_shape=(1, *heads.mean_head.shape),
        out_channels=1,
        latent_size=config.latent,
        channels=channels,
        strides=(2,) * len(channels),
        norm=("GROUP", {"num_groups": math.gcd(MOST_GROUPS, *channels)}),
        use_sigmoid=False,
        use_mean_at_inference=True,
    )


class MonaiEncoder(PosteriorEncoder):
    """The encoding half."""

    def __init__(self, heads: HeadStatistics, config: NetworkConfig) -> None:
        super().__init__(heads, config.latent)
        whole = _whole(heads, config)
        self.encode, self.intermediate = whole.encode, whole.intermediate
        self.to_mean, self.to_log_variance = whole.mu, whole.logvar
        start_small_variance(self.to_log_variance)

    def views(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Return MONAI's flat features."""
        return (self.intermediate(self.encode(self.difference(tensor))).flatten(1),)

    def mean_of(self, views: tuple[Tensor, ...]) -> Tensor:
        """Return MONAI's mu."""
        mean: Tensor = self.to_mean(views[0])
        return mean

    def log_variance_of(self, views: tuple[Tensor, ...]) -> Tensor:
        """Return MONAI's logvar."""
        log_variance: Tensor = self.to_log_variance(views[0])
        return log_variance


class MonaiDecoder(LatentDecoder):
    """The decoding half; its convolutions are transposed ones."""

    def __init__(self, heads: HeadStatistics, config: NetworkConfig) -> None:
        super().__init__(heads)
        whole = _whole(heads, config)
        self.from_latent, self.decode = whole.decodeL, whole.decode
        self.coarse_channels = config.encoder_channels[-1]
        self.coarse_shape = coarse_shape(heads.mean_head.shape, len(config.encoder_channels))

    def forward(self, latent: Tensor) -> Tensor:
        """Return the reconstruction on the preprocessing grid."""
        coarse = functional.relu(self.from_latent(latent))
        return self.head(self.decode(coarse.reshape(-1, self.coarse_channels, *self.coarse_shape)))
