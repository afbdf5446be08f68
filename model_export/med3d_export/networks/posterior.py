"""What every encoder is: features of a head, then linear layers to the posterior."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from med3d_export.networks.difference import Difference, HeadStatistics

START_LOG_VARIANCE = -3.0
LOG_VARIANCE_RANGE = (-8.0, 4.0)


class PosteriorEncoder(Difference, ABC):
    """From a tensor (N, 1, X, Y, Z) to the mean and log variance of the posterior, each (N, latent)."""

    def __init__(self, heads: HeadStatistics, latent: int) -> None:
        super().__init__(heads)
        self.latent = latent

    @abstractmethod
    def views(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Return flat features (N, F) of which the mean is a linear function; the first also give the log variance."""

    @abstractmethod
    def mean_of(self, views: tuple[Tensor, ...]) -> Tensor:
        """Return the posterior's mean (N, latent), linear in ``views``."""

    @abstractmethod
    def log_variance_of(self, views: tuple[Tensor, ...]) -> Tensor:
        """Return the posterior's log variance (N, latent) before it is held in LOG_VARIANCE_RANGE."""

    def code_spreads(self) -> Tensor:
        """Return (latent,) how much each number of the latent should count where heads are compared: 1 unless told."""
        return torch.ones(self.latent)

    def start_from(self, images: Tensor, varied: Tensor) -> None:
        """Set the weights by the training heads (N, 1, X, Y, Z) and varied copies (C * N, ...) where it can."""

    def forward(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, each (N, latent); the log variance is held within LOG_VARIANCE_RANGE."""
        views = self.views(tensor)
        return self.mean_of(views), self.log_variance_of(views).clamp(*LOG_VARIANCE_RANGE)


def start_small_variance(layer: nn.Linear) -> None:
    """Return the same small variance for every head, until training says otherwise."""
    with torch.no_grad():
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, START_LOG_VARIANCE)
