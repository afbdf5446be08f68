"""beta-TC-VAE: Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders", NeurIPS 2018."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from med3d_export.config_section import NotNegative, Positive, Section
from med3d_export.objectives.interface import Penalty, Posterior, Seen


class BetaTcVae(Section):
    """Recon + KL(q(z|x) || p(z)) + (beta - 1) TC(q(z)), the paper's alpha and gamma being 1; beta = 1 is the VAE."""

    kind: Literal["beta-tc-vae"]
    beta: NotNegative
    decoder_sd: Positive
    bank: ClassVar[int] = 0

    def latent_of(self, posterior: Posterior) -> Tensor:
        """Return a draw."""
        return posterior.draw()

    def penalties(self, seen: Seen) -> tuple[Penalty, ...]:
        """Return KL, and the total correlation in nats."""
        correlation = total_correlation_nats(seen.posterior, seen.latent)
        return (
            Penalty("kl", seen.posterior.kl_nats(), 1.0),
            Penalty("total_correlation", correlation, self.beta - 1.0),
        )


def total_correlation_nats(posterior: Posterior, latent: Tensor) -> Tensor:
    """Return KL(q(z) || product of q(z_j)) with q(z) as the mixture of the batch's posteriors; a scalar.

    The mixture is of the batch alone, so the value is at most about log N per subject below the truth; 0 for one
    subject.
    """
    variance = posterior.log_variance.exp()
    squared = (latent[:, None] - posterior.mean[None]).square() / variance[None]
    # (N, N, d): log q(z_j of subject n | subject m)
    density = -0.5 * (squared + posterior.log_variance[None] + math.log(2.0 * math.pi))
    count = math.log(latent.shape[0])
    whole = torch.logsumexp(density.sum(2), dim=1) - count
    marginals = (torch.logsumexp(density, dim=1) - count).sum(1)
    return (whole - marginals).mean()
