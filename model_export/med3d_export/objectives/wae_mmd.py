"""WAE-MMD: Tolstikhin et al., "Wasserstein Auto-Encoders", ICLR 2018, with a deterministic encoder."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from med3d_export.config_section import NotNegative, Positive, Section
from med3d_export.objectives.discrepancy import maximum_mean_discrepancy
from med3d_export.objectives.interface import Penalty, Posterior, Seen
from med3d_export.objectives.kernels import KERNELS, KernelName


class WaeMmd(Section):
    """Recon + l MMD(q(z), p(z)); the latent is the mean."""

    kind: Literal["wae-mmd"]
    l: NotNegative  # noqa: E741 - the paper's letter
    decoder_sd: Positive
    bank: int = Field(default=512, ge=0)
    kernel: KernelName = "inverse-multiquadric"

    def latent_of(self, posterior: Posterior) -> Tensor:
        """Return the mean."""
        return posterior.mean

    def penalties(self, seen: Seen) -> tuple[Penalty, ...]:
        """Return the MMD."""
        return (Penalty("mmd", maximum_mean_discrepancy(seen.latent, seen.banked, KERNELS[self.kernel]), self.l),)
