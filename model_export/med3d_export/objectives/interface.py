"""What the variants have in common: what they see of a batch, and what they say of it.

Every objective is a reconstruction term plus penalties. Reductions are the same for all: the reconstruction is the
negative log likelihood of a Gaussian with a fixed standard deviation (``decoder_sd``, in units of the tensor),
without its constant, summed over voxels and averaged over the batch, in nats; a penalty says its own unit, and its
weight turns it into nats. The sum is divided by the number of voxels, which changes no optimum and keeps steps of one
size on every grid.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Posterior:
    """q(z|x) of a batch, a Gaussian without correlations: mean and log variance, each (N, latent)."""

    mean: Tensor
    log_variance: Tensor

    def draw(self) -> Tensor:
        """Return one draw per subject (N, latent), by the reparametrisation of Kingma and Welling (ICLR 2014)."""
        return self.mean + torch.randn_like(self.mean) * (0.5 * self.log_variance).exp()

    def kl_per_dimension(self) -> Tensor:
        """Return KL(q(z|x) || N(0, I)) in nats (N, latent)."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance)

    def kl_nats(self) -> Tensor:
        """Return KL to the prior, summed over dimensions, averaged over the batch."""
        return self.kl_per_dimension().sum(dim=1).mean()


@dataclass(frozen=True, eq=False)
class Seen:
    """One batch after encoder and decoder.

    tensor, reconstructed: (N, 1, X, Y, Z). latent: (N, d), what the decoder was given. banked: (M, d), latents of past
    batches, without a gradient; M may be 0. decoder_weights: the decoder's parameters.
    """

    tensor: Tensor
    reconstructed: Tensor
    posterior: Posterior
    latent: Tensor
    banked: Tensor
    decoder_weights: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Penalty:
    """A scalar, what it is called in loss curves, and its weight in nats per unit."""

    name: str
    value: Tensor
    weight: float


class Objective(Protocol):
    """A variant: a frozen section of the recipe that knows how to judge a batch."""

    @property
    def kind(self) -> str:
        """What the recipe calls it."""

    @property
    def decoder_sd(self) -> float:
        """Standard deviation of the decoder's Gaussian, in units of the tensor."""

    @property
    def bank(self) -> int:
        """How many past latents it wants to see."""

    def latent_of(self, posterior: Posterior) -> Tensor:
        """Return what the decoder is given in training (N, d): a draw, or the mean."""

    def penalties(self, seen: Seen) -> tuple[Penalty, ...]:
        """Return everything beside the reconstruction."""


def reconstruction_nats(tensor: Tensor, reconstructed: Tensor, decoder_sd: float) -> Tensor:
    """Sum over voxels, mean over the batch, of squared error / (2 sd^2)."""
    squared = (reconstructed - tensor).square().flatten(1).sum(dim=1)
    return squared.mean() / (2.0 * decoder_sd**2)


@dataclass(frozen=True, eq=False)
class BatchLoss:
    """The objective to be minimised, in nats per voxel, and its unweighted terms by name; scalars."""

    total: Tensor
    terms: dict[str, Tensor]


def judge(objective: Objective, seen: Seen, more: Iterable[Penalty] = ()) -> BatchLoss:
    """Return the objective on one batch. ``more``: terms that are not the variant's; their weights are per voxel."""
    reconstruction = reconstruction_nats(seen.tensor, seen.reconstructed, objective.decoder_sd)
    penalties, others = objective.penalties(seen), tuple(more)
    nats = reconstruction + sum(penalty.weight * penalty.value for penalty in penalties)
    total = nats / seen.tensor[0].numel() + sum(other.weight * other.value for other in others)
    terms = {"reconstruction": reconstruction} | {term.name: term.value for term in (*penalties, *others)}
    return BatchLoss(total, {name: value.detach() for name, value in terms.items()})
