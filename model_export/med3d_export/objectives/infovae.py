"""InfoVAE: Zhao, Song, Ermon, "InfoVAE: Balancing Learning and Inference", AAAI 2019."""

from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from med3d_export.config_section import Positive, Section
from med3d_export.objectives.discrepancy import maximum_mean_discrepancy
from med3d_export.objectives.interface import Penalty, Posterior, Seen
from med3d_export.objectives.kernels import KERNELS, KernelName


class InfoVae(Section):
    """Recon + (1 - a) KL(q(z|x) || p(z)) + (a + l - 1) MMD(q(z), p(z)), with a + l >= 1.

    a = 0 and l = 1 is the VAE; a = 1 leaves MMD alone, close to WAE-MMD. InfoVAE proper has a strictly between. KL in
    nats per subject, MMD without a unit.
    """

    kind: Literal["infovae"] = "infovae"
    a: float = Field(ge=0, le=1)
    l: float  # noqa: E741 - the paper's letter, beside its a
    decoder_sd: Positive
    bank: int = Field(default=512, ge=0)
    kernel: KernelName = "inverse-multiquadric"

    @model_validator(mode="after")
    def _mmd_weight_is_not_negative(self) -> Self:
        if self.a + self.l < 1.0:
            raise ValueError(f"a + l must be at least 1, not {self.a + self.l}: the weight of MMD would be negative")
        return self

    @property
    def kl_weight(self) -> float:
        """Weight of the KL term: 1 - a."""
        return 1.0 - self.a

    @property
    def mmd_weight(self) -> float:
        """Weight of the MMD term: a + l - 1."""
        return self.a + self.l - 1.0

    def latent_of(self, posterior: Posterior) -> Tensor:
        """Return a draw."""
        return posterior.draw()

    def penalties(self, seen: Seen) -> tuple[Penalty, ...]:
        """Return KL and MMD."""
        mmd = maximum_mean_discrepancy(seen.latent, seen.banked, KERNELS[self.kernel])
        return (Penalty("kl", seen.posterior.kl_nats(), self.kl_weight), Penalty("mmd", mmd, self.mmd_weight))
