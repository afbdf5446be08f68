"""Encoders and decoders: two backbones with one face.

An encoder takes tensors (N, 1, X, Y, Z) float32 on the preprocessing grid and gives the mean and log variance of the
posterior; a decoder takes latents (N, d) and gives tensors. GroupNorm throughout, so that a batch of one trains and
predicts alike.
"""

from med3d_export.networks.backbones import build_decoder, build_encoder
from med3d_export.networks.config import NetworkConfig
from med3d_export.networks.deterministic import SymmetricMean
from med3d_export.networks.difference import HeadStatistics
from med3d_export.networks.group_norm import spell_out_group_norms

__all__ = [
    "HeadStatistics",
    "NetworkConfig",
    "SymmetricMean",
    "build_decoder",
    "build_encoder",
    "spell_out_group_norms",
]
