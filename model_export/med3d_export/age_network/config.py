"""The recipe's section on the age network."""

from typing import Annotated

from pydantic import Field

from med3d_export.augmentation_config import AugmentationConfig
from med3d_export.config_section import NotNegative, Positive, Section

NotNegativeCount = Annotated[int, Field(ge=0)]


class AgeNetworkConfig(Section):
    """``members`` networks per fit, each of ``steps`` batches that are drawn with replacement.

    A site's heads are drawn the less often the more there are of it (the square root). copies: of each head, varied
    once for all fits; each step draws among them. margin: voxels at either end of each axis that the networks do not
    see; what is left is a multiple of 2 to the number of halvings + 1. channels: of the convolutions; all but the last
    two are followed by a halving. code_weight: what the number counts beside the latent's in
    heads other than that of the age, where heads are compared.
    """

    members: int = Field(default=5, ge=2)
    copies: int = Field(default=40, ge=1)
    margin: tuple[NotNegativeCount, NotNegativeCount, NotNegativeCount] = (0, 0, 0)
    channels: tuple[int, ...] = Field(default=(16, 32, 64, 64, 64), min_length=3)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    steps: int = Field(default=1500, ge=1)
    batch: int = Field(default=16, ge=2)
    learning_rate: Positive = 2e-3
    weight_decay: NotNegative = 0.05
    code_weight: Positive = 30.0
    augmentation: AugmentationConfig = AugmentationConfig()
