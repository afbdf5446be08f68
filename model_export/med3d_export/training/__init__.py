"""Fitting an autoencoder to the tensors of training subjects."""

from med3d_export.training.fit import fit_autoencoder, start_autoencoder
from med3d_export.training.fitted import FittedAutoencoder, Weights, rebuild, weights_of
from med3d_export.training.values import EpochReport, Targets, Tensors, TrainingError

__all__ = [
    "EpochReport",
    "FittedAutoencoder",
    "Targets",
    "Tensors",
    "TrainingError",
    "Weights",
    "fit_autoencoder",
    "rebuild",
    "start_autoencoder",
    "weights_of",
]
