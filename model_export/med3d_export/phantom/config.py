"""The recipe's section on the phantom cohort."""

from pydantic import Field

from med3d_export.config_section import Section
from med3d_export.objectives import ObjectiveConfig


class PhantomConfig(Section):
    """How many phantoms, and which objectives are asked for their factors beside the recipe's own, by name."""

    count: int = Field(default=200, ge=20)
    folds: int = Field(default=3, ge=2)
    seeds: int = Field(default=3, ge=1, description="fits of each objective in each fold")
    variants: dict[str, ObjectiveConfig] = Field(default_factory=dict)
