"""The networks that a recipe asks for."""

from med3d_export.networks.config import NetworkConfig
from med3d_export.networks.difference import HeadStatistics
from med3d_export.networks.latent_decoder import LatentDecoder
from med3d_export.networks.monai_backbone import MonaiDecoder, MonaiEncoder
from med3d_export.networks.posterior import PosteriorEncoder
from med3d_export.networks.residual import ResidualEncoder, ResizeDecoder


def build_encoder(config: NetworkConfig, heads: HeadStatistics) -> PosteriorEncoder:
    """Build the encoder. Raises ValueError where the grid cannot be halved once per channel count."""
    return MonaiEncoder(heads, config) if config.backbone == "monai" else ResidualEncoder(heads, config)


def build_decoder(config: NetworkConfig, heads: HeadStatistics) -> LatentDecoder:
    """Build the decoder. Raises ValueError where the grid cannot be halved once per channel count."""
    return MonaiDecoder(heads, config) if config.backbone == "monai" else ResizeDecoder(heads, config)
