"""A small fully convolutional network for age, after the SFCN (Peng et al., Medical Image Analysis 2021)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from med3d_export.age_network.config import AgeNetworkConfig

EIGHTHS = 8
"""Channels of the first convolution's input: each 2 x 2 x 2 voxels become one of eight channels."""


class AgeNetwork(nn.Module):
    """From tensors (N, 1, X, Y, Z) to years (N,).

    mean_years, sd_years: of the ages that it learned from.
    """

    mean_years: Tensor
    sd_years: Tensor

    def __init__(self, config: AgeNetworkConfig) -> None:
        super().__init__()
        self.margin = config.margin
        halvings = len(config.channels) - 2
        layers: list[nn.Module] = []
        before = EIGHTHS
        for number, channels in enumerate(config.channels):
            layers += [
                nn.Conv3d(before, channels, 3, padding=1, bias=False),
                nn.BatchNorm3d(channels),
                nn.ReLU(),
                *([nn.MaxPool3d(2)] if number < halvings else []),
            ]
            before = channels
        self.features = nn.Sequential(*layers)
        self.to_age = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(before, 1))
        self.register_buffer("mean_years", torch.zeros(()))
        self.register_buffer("sd_years", torch.ones(()))

    def forward(self, tensor: Tensor) -> Tensor:
        """Return ages in years (N,)."""
        return self.standardised(within(tensor, self.margin)) * self.sd_years + self.mean_years

    def standardised(self, seen: Tensor) -> Tensor:
        """Return ages (N,) in deviations from the mean age that was learned from, for what the margin leaves."""
        features = self.features(eighths(seen)).mean(dim=(2, 3, 4))
        age: Tensor = self.to_age(features)
        return age[:, 0].float()


def within(tensor: Tensor, margin: tuple[int, int, int]) -> Tensor:
    """Return what a margin at either end of the last three axes leaves."""
    x, y, z = (slice(width, size - width) for width, size in zip(margin, tensor.shape[-3:], strict=True))
    return tensor[..., x, y, z]


def eighths(tensor: Tensor) -> Tensor:
    """Return (N, 8, X/2, Y/2, Z/2) of (N, 1, X, Y, Z): nothing is lost, convolutions cost an eighth."""
    parts = [tensor[:, :, x::2, y::2, z::2] for x in range(2) for y in range(2) for z in range(2)]
    return torch.cat(parts, dim=1)


class AgeCode(nn.Module):
    """The members' mean age as one number beside the latent: (N, 1, X, Y, Z) to (N, 1), in deviations of the ages."""

    def __init__(self, members: list[AgeNetwork], mean_years: float, sd_years: float) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.mean_years, self.sd_years = mean_years, sd_years

    def forward(self, tensor: Tensor) -> Tensor:
        """Return codes (N, 1)."""
        years = torch.stack([member(tensor) for member in self.members]).mean(dim=0)
        return self.code_of(years)[:, None]

    def code_of(self, years: Tensor) -> Tensor:
        """Return the number that stands for ages in years."""
        return (years - self.mean_years) / self.sd_years


def loss_of(standardised: Tensor, target: Tensor) -> Tensor:
    """Huber's loss: a head of an unusual age does not pull more than its share."""
    return functional.smooth_l1_loss(standardised, target, beta=0.5)
