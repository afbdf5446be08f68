"""The InfoVAE objective (Zhao, Song, Ermon, "InfoVAE: Balancing Learning and Inference", AAAI 2019), to be minimised.

    recon + (1 - a) KL(q(z|x) || p(z)) + (a + l - 1) MMD(q(z), p(z)),    a + l >= 1

a = 0 and l = 1 is the VAE; a = 1 leaves MMD alone, close to WAE-MMD. Reductions: ``recon`` is the negative log
likelihood of a Gaussian with a fixed standard deviation, without its constant, summed over voxels and averaged over the
batch; KL is summed over dimensions and averaged over the batch, both in nats. The sum is then divided by the number of
voxels, which changes no optimum and keeps steps of the same size on every grid.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from med3d_export.mmd import LatentBank, maximum_mean_discrepancy


@dataclass(frozen=True)
class ObjectiveWeights:
    """``a`` (alpha) and ``l`` (lambda) of the objective and the decoder's standard deviation (units of the tensor).

    Raises ValueError where a + l < 1, which would reward a latent that leaves the prior.
    """

    a: float
    l: float  # noqa: E741 - the paper's letter, beside its a
    decoder_sd: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.a <= 1.0:
            raise ValueError(f"a lies in [0, 1], not {self.a}")
        if self.a + self.l < 1.0:
            raise ValueError(f"a + l must be at least 1, not {self.a + self.l}: the weight of MMD would be negative")
        if self.decoder_sd <= 0.0:
            raise ValueError("the decoder's standard deviation must be positive")

    @property
    def kl_weight(self) -> float:
        """1 - a."""
        return 1.0 - self.a

    @property
    def mmd_weight(self) -> float:
        """A + l - 1."""
        return self.a + self.l - 1.0


@dataclass(frozen=True)
class ObjectiveTerms:
    """The objective and its unweighted terms; scalars. ``total`` is per voxel, the others in nats and MMD units."""

    total: Tensor
    reconstruction: Tensor
    kl: Tensor
    mmd: Tensor


def reconstruction_nats(tensor: Tensor, reconstructed: Tensor, decoder_sd: float) -> Tensor:
    """Sum over voxels, mean over the batch, of squared error / (2 sd^2)."""
    squared = (reconstructed - tensor).square().flatten(1).sum(dim=1)
    return squared.mean() / (2.0 * decoder_sd**2)


def kl_nats(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)), summed over dimensions, averaged over the batch (Kingma and Welling 2014)."""
    per_dimension = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
    return per_dimension.sum(dim=1).mean()


def infovae_objective(
    tensor: Tensor,
    reconstructed: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    sample: Tensor,
    bank: LatentBank,
    weights: ObjectiveWeights,
) -> ObjectiveTerms:
    """The three terms for one batch; ``sample`` (N, latent) is drawn from the posterior and joins the bank."""
    reconstruction = reconstruction_nats(tensor, reconstructed, weights.decoder_sd)
    kl = kl_nats(mean, log_variance)
    mmd = maximum_mean_discrepancy(sample, bank.latents, torch.randn_like(sample))
    bank.push(sample)
    nats = reconstruction + weights.kl_weight * kl + weights.mmd_weight * mmd
    return ObjectiveTerms(nats / tensor[0].numel(), reconstruction, kl, mmd)
