"""beta-VAE: Higgins et al., "Learning Basic Visual Concepts with a Constrained Variational Framework", ICLR 2017."""

from typing import ClassVar, Literal

from torch import Tensor

from med3d_export.config_section import NotNegative, Positive, Section
from med3d_export.objectives.interface import Penalty, Posterior, Seen


class BetaVae(Section):
    """Recon + beta KL(q(z|x) || p(z)); beta = 1 is the VAE."""

    kind: Literal["beta-vae"]
    beta: NotNegative
    decoder_sd: Positive
    bank: ClassVar[int] = 0

    def latent_of(self, posterior: Posterior) -> Tensor:
        """Return a draw."""
        return posterior.draw()

    def penalties(self, seen: Seen) -> tuple[Penalty, ...]:
        """Return KL, beta times."""
        return (Penalty("kl", seen.posterior.kl_nats(), self.beta),)
