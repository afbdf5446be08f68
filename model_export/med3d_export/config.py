"""The training recipe as a TOML file: every number that decides what model comes out."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from med3d_export.age_network.config import AgeNetworkConfig
from med3d_export.augmentation_config import AugmentationConfig
from med3d_export.config_section import NotNegative, Positive, Section
from med3d_export.evaluation_config import ComparisonConfig, DecisionConfig, EvaluationConfig
from med3d_export.networks.config import NetworkConfig
from med3d_export.objectives import ObjectiveConfig
from med3d_export.objectives.image_terms import ImageTermsConfig
from med3d_export.phantom.config import PhantomConfig

PositiveCount = Annotated[int, Field(ge=1)]


class RecipeError(Exception):
    """The recipe is no TOML; the message names the file and the line."""


class GridConfig(Section):
    """The grid that networks work on: 64^3 of 3 mm is what a CPU trains in minutes, 128^3 of 1.4 mm the paper's.

    working_grid_mm: finer voxels are averaged to about this before registration; at most the spacing.
    """

    shape: tuple[PositiveCount, PositiveCount, PositiveCount] = (64, 64, 64)
    spacing_mm: Positive = 3.0
    working_grid_mm: Positive = 2.0

    @model_validator(mode="after")
    def _working_grid_is_the_finer(self) -> Self:
        if self.working_grid_mm > self.spacing_mm:
            raise ValueError(f"working_grid_mm is at most spacing_mm, {self.spacing_mm:g}")
        return self


class SupervisionConfig(Section):
    """Semi-supervision: linear heads on the latent's mean that predict labels of training subjects. Weight 0: none.

    site_adversary_weight: of a head that learns the site while the encoder learns to hide it.
    """

    age_weight: NotNegative = 0.0
    sex_weight: NotNegative = 0.0
    sdmt_weight: NotNegative = 0.0
    site_adversary_weight: NotNegative = 0.0
    volumes_weight: NotNegative = 0.0
    volumes_csv: Path | None = None
    dropout: float = Field(default=0.0, ge=0, lt=1)


class OptimiserConfig(Section):
    """AdamW with a linear warm-up and a cosine to zero; ``epochs`` passes over the training subjects.

    linear_share: of the learning rate, for what starts in closed form (its weights are small and where they should be:
    steps of one size with the convolutions' would scatter them); 0 keeps it as it starts.
    held_out_fraction: share of the training subjects that a fit sets apart to watch its loss on. patience: epochs
    without a lower held-out loss after which it stops and takes the best epoch's weights; 0: it never does.
    """

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: Positive
    linear_share: float = Field(default=1.0, ge=0, le=1)
    weight_decay: NotNegative
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    gradient_clip: Positive = 1.0
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    held_out_fraction: float = Field(default=0.0, ge=0, lt=0.5)
    patience: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _patience_has_something_to_watch(self) -> Self:
        if self.patience and not self.held_out_fraction:
            raise ValueError("patience needs subjects to watch: set held_out_fraction above 0, or patience to 0")
        return self


class HardwareConfig(Section):
    """What to train on, in Lightning's words; several devices work together by ``ddp_spawn``."""

    accelerator: Literal["cpu", "gpu", "auto"] = "cpu"
    devices: int = Field(default=1, ge=1)
    strategy: Literal["auto", "ddp_spawn"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"


class PopulationConfig(Section):
    """Whom the manifest describes: what the bundle says of its training data, and what the decision is held against."""

    name: str
    description: str
    source: str
    licence: str
    field_strengths_t: tuple[Positive, ...] = Field(min_length=1)
    vendors: tuple[str, ...] = Field(min_length=1)


class TrainingConfig(Section):
    """Everything that ``med3d-export train`` needs beside the data."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str = Field(min_length=1)
    seed: int
    threads: int = Field(default=2, ge=1)
    grid: GridConfig = GridConfig()
    network: NetworkConfig
    objective: ObjectiveConfig
    reconstruction: ImageTermsConfig = ImageTermsConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    age_network: AgeNetworkConfig | None = None
    optimiser: OptimiserConfig
    hardware: HardwareConfig = HardwareConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    decision: DecisionConfig = DecisionConfig()
    phantom: PhantomConfig = PhantomConfig()
    population: PopulationConfig

    @model_validator(mode="after")
    def _heads_know_where_local_codes_begin(self) -> Self:
        if self.evaluation.whole_codes not in {0, self.network.linear_rank}:
            raise ValueError("evaluation.whole_codes is 0 or network.linear_rank: where the local codes begin")
        return self

    @model_validator(mode="after")
    def _grid_can_be_halved(self) -> Self:
        """Tell before minutes go into preprocessing."""
        shape, factor = self.grid.shape, 2 ** len(self.network.encoder_channels)
        if any(size % factor for size in shape):
            raise ValueError(
                f"grid.shape must be multiples of {factor}, not {shape}: network.encoder_channels asks for "
                f"{len(self.network.encoder_channels)} halvings"
            )
        if self.age_network is not None:
            margin, factor = self.age_network.margin, 2 ** (len(self.age_network.channels) - 1)
            left = tuple(size - 2 * width for size, width in zip(shape, margin, strict=True))
            if any(size <= 0 or size % factor for size in left):
                raise ValueError(
                    f"age_network.margin must leave multiples of {factor} of grid.shape, not {left}: "
                    f"age_network.channels asks for {len(self.age_network.channels) - 2} halvings"
                )
        return self

    @model_validator(mode="after")
    def _age_code_is_mixed_into_a_line(self) -> Self:
        if self.age_network is not None and self.evaluation.head_kernels != ("linear",):
            raise ValueError('age_network needs evaluation.head_kernels = ["linear"]: its age is mixed into one line')
        return self

    @property
    def latent_dimension(self) -> int:
        """Of what a bundle's encoder gives: the autoencoder's latent and, where there is an age network, its number."""
        return self.network.latent + (self.age_network is not None)

    def with_objective(self, objective: ObjectiveConfig) -> Self:
        """Return the same recipe with another objective."""
        return self.model_copy(update={"objective": objective})


def read_config(path: Path) -> TrainingConfig:
    """Read a TOML file.

    Raises pydantic.ValidationError that names each wrong field, RecipeError where it is no TOML.
    """
    try:
        with path.open("rb") as file:
            read = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise RecipeError(f"{path.name} cannot be read as TOML: {error}") from error
    return TrainingConfig.model_validate(read)
