"""The training recipe as a TOML file: every number that decides what model comes out."""

import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from med3d_export.evaluation_config import ComparisonConfig, DecisionConfig, EvaluationConfig

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkConfig(_Section):
    """Channels after each halving of the grid (decoder: the same backwards) and the latent's dimension."""

    encoder_channels: tuple[int, int, int, int]
    decoder_channels: tuple[int, int, int, int]
    linear_rank: int = Field(default=128, ge=1, description="directions of the encoder's linear path")
    latent: int = Field(default=512, ge=2)


class ObjectiveConfig(_Section):
    """InfoVAE's a and l, the decoder's standard deviation in units of the tensor, and the latent bank."""

    a: float = Field(ge=0, le=1)
    l: float  # noqa: E741 - the paper's letter, beside its a
    decoder_sd: Positive
    bank: int = Field(default=512, ge=0)

    @model_validator(mode="after")
    def _mmd_weight_is_not_negative(self) -> Self:
        if self.a + self.l < 1.0:
            raise ValueError(f"a + l must be at least 1, not {self.a + self.l}: the weight of MMD would be negative")
        return self


class SupervisionConfig(_Section):
    """Semi-supervision: linear heads on the latent's mean that predict labels of training subjects. Weight 0: none."""

    age_weight: NotNegative = 0.0
    volumes_weight: NotNegative = 0.0
    volumes_csv: Path | None = None
    dropout: float = Field(default=0.0, ge=0, lt=1)


class AugmentationConfig(_Section):
    """Reaches of the uniform draws; 0 switches one off. ``log_`` reaches are of the natural logarithm."""

    flip_probability: float = Field(default=0.5, ge=0, le=1)
    rotation_deg: NotNegative = 4.0
    scale: NotNegative = 0.03
    shift_voxels: NotNegative = 1.0
    sharpness: NotNegative = 0.5
    log_gamma: NotNegative = 0.2
    log_gain: NotNegative = 0.1
    log_shading: NotNegative = 0.05
    noise_sd: NotNegative = 0.02
    mixup: float = Field(default=0.0, ge=0, le=1)


class OptimiserConfig(_Section):
    """AdamW with a linear warm-up and a cosine to zero; ``epochs`` passes over the training subjects."""

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: Positive
    weight_decay: NotNegative
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    gradient_clip: Positive = 1.0
    ema_decay: float = Field(default=0.99, ge=0, lt=1)


class PopulationConfig(_Section):
    """Whom the manifest describes: what the bundle says of its training data, and what the decision is held against."""

    name: str
    description: str
    source: str
    licence: str
    field_strengths_t: tuple[Positive, ...] = Field(min_length=1)
    vendors: tuple[str, ...] = Field(min_length=1)


class TrainingConfig(_Section):
    """Everything that ``med3d-export train`` needs beside the data."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str
    seed: int
    threads: int = Field(default=2, ge=1)
    network: NetworkConfig
    objective: ObjectiveConfig
    supervision: SupervisionConfig = SupervisionConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    optimiser: OptimiserConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    decision: DecisionConfig = DecisionConfig()
    population: PopulationConfig


def read_config(path: Path) -> TrainingConfig:
    """Read a TOML file. Raises pydantic.ValidationError that names each wrong field."""
    with path.open("rb") as file:
        return TrainingConfig.model_validate(tomllib.load(file))
