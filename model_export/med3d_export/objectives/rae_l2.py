"""RAE-L2: Ghosh et al., "From Variational to Deterministic Autoencoders", ICLR 2020."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from med3d_export.config_section import NotNegative, Positive, Section
from med3d_export.objectives.interface import Penalty, Posterior, Seen


class RaeL2(Section):
    """Recon + beta |z|^2 / 2 + decoder_l2 |decoder's weights|^2; the latent is the mean, nothing is drawn."""

    kind: Literal["rae-l2"]
    beta: NotNegative
    decoder_l2: NotNegative
    decoder_sd: Positive
    bank: ClassVar[int] = 0

    def latent_of(self, posterior: Posterior) -> Tensor:
        """Return the mean."""
        return posterior.mean

    def penalties(self, seen: Seen) -> tuple[Penalty, ...]:
        """Return half the latent's mean squared length, and the sum of the decoder's squared weights."""
        length = 0.5 * seen.latent.square().sum(1).mean()
        weights = torch.stack([weight.square().sum() for weight in seen.decoder_weights]).sum()
        return (Penalty("latent_l2", length, self.beta), Penalty("decoder_l2", weights, self.decoder_l2))
