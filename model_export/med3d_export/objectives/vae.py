"""The VAE: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014."""

from typing import ClassVar, Literal

from torch import Tensor

from med3d_export.config_section import Positive, Section
from med3d_export.objectives.interface import Penalty, Posterior, Seen


class Vae(Section):
    """Recon + KL(q(z|x) || p(z)), in nats: the negative evidence lower bound."""

    kind: Literal["vae"]
    decoder_sd: Positive
    bank: ClassVar[int] = 0

    def latent_of(self, posterior: Posterior) -> Tensor:
        """Return a draw."""
        return posterior.draw()

    def penalties(self, seen: Seen) -> tuple[Penalty, ...]:
        """Return the KL."""
        return (Penalty("kl", seen.posterior.kl_nats(), 1.0),)
