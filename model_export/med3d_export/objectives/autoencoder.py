"""The plain autoencoder: reconstruction and nothing else."""

from typing import ClassVar, Literal

from torch import Tensor

from med3d_export.config_section import Positive, Section
from med3d_export.objectives.interface import Penalty, Posterior, Seen


class Autoencoder(Section):
    """Recon alone; the latent is the mean."""

    kind: Literal["autoencoder"]
    decoder_sd: Positive
    bank: ClassVar[int] = 0

    def latent_of(self, posterior: Posterior) -> Tensor:
        """Return the mean."""
        return posterior.mean

    def penalties(self, seen: Seen) -> tuple[Penalty, ...]:  # noqa: ARG002 - the interface's
        """Return none."""
        return ()
