"""The recipe's sections on what happens after a fit: evaluation, comparison of objectives, decision limits."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from med3d_export.heads import ANY_HEAD, KERNELS, HeadSpace, Kernel

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Scope = Literal["all-folds", "first-fold"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EvaluationConfig(_Section):
    """Outer folds of the cross-validation, its repeats, inner folds of every search, and the intervals' level.

    split: ``stratified`` by age, sex and site, or ``leave-one-site-out``, where a fold is a site and ``outer_folds`` is
    idle.
    repeats: whole cross-validations, each with folds and seeds of its own. scope: ``first-fold`` fits only the first
    fold of each repeat, where hours are short. volumes_csv: regional volumes for a baseline, relative to the data's
    folder.
    harmonisation: ``combat`` takes out of the latents what each site adds (see harmonisation.py), estimated anew from
    the training subjects of each fold; the bundle carries it.
    head_kernels: which the search of the support vector regressions may choose from.
    head_copies: how many varied copies of each training head (the recipe's augmentation) they learn from beside it.
    head_copy_weight: what a copy counts against a true head; 0: it is nothing to learn from.
    head_copy_variance: how far the directions in which copies of one head lie apart count less, see
    ``heads.steady_metric``; other than 0 it asks for copies and for the linear kernel alone.
    whole_codes: how many of the latent's first numbers are of the whole head (``linear_rank``); those of single cubes,
    which follow, then weigh one of head_local_weights; 0: all weigh the same. head_costs: of the linear kernel.
    age_bands_years: edges of the bands that coverage and the model card's errors are told apart by.
    """

    split: Literal["stratified", "leave-one-site-out"] = "stratified"
    outer_folds: int = Field(default=5, ge=2)
    inner_folds: int = Field(default=5, ge=2)
    repeats: int = Field(default=3, ge=1)
    scope: Scope = "all-folds"
    interval_level: float = Field(default=0.9, gt=0, lt=1)
    volumes_csv: Path | None = None
    harmonisation: Literal["none", "combat"] = "none"
    head_kernels: tuple[Kernel, ...] = Field(default=KERNELS, min_length=1)
    head_copies: int = Field(default=0, ge=0)
    head_copy_weight: NotNegative = 1.0
    head_copy_variance: NotNegative = 0.0
    whole_codes: int = Field(default=0, ge=0)
    head_local_weights: tuple[Positive, ...] = Field(default=ANY_HEAD.local_weights, min_length=1)
    head_costs: tuple[Positive, ...] = Field(default=ANY_HEAD.costs, min_length=1)
    age_bands_years: tuple[float, ...] = (20.0, 40.0, 60.0, 90.0)

    @property
    def head_space(self) -> HeadSpace:
        """What the search of the support vector regressions may choose from."""
        return HeadSpace(
            self.head_kernels, self.whole_codes, self.head_local_weights, self.head_costs, self.head_copy_variance
        )

    @model_validator(mode="after")
    def _metric_has_copies_and_one_kernel(self) -> Self:
        if self.head_copy_variance and (not self.head_copies or self.head_kernels != ("linear",)):
            raise ValueError('head_copy_variance needs head_copies of 1 or more and head_kernels = ["linear"]')
        return self


class VariantConfig(_Section):
    """One objective to be compared: settings that the inner search of each outer fold chooses from.

    candidates: ``[objective]`` sections. Each outer fold fits them all to its training subjects and keeps the one whose
    head does best in the inner folds; no test subject is looked at. supervision: a ``[supervision]`` section in place
    of the recipe's, so that semi-supervised and unsupervised encoders stand beside each other.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    candidates: tuple[dict[str, Any], ...] = Field(min_length=1)
    supervision: dict[str, Any] | None = None
    scope: Scope = "all-folds"


class ComparisonConfig(_Section):
    """The objectives that ``med3d-export compare`` sets against each other; all others are held against the first."""

    variants: tuple[VariantConfig, ...] = ()

    @model_validator(mode="after")
    def _budgets_are_equal(self) -> Self:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have the same name")
        budgets = {variant.name: len(variant.candidates) for variant in self.variants}
        if len(set(budgets.values())) > 1:
            said = ", ".join(f"{name} {count}" for name, count in budgets.items())
            raise ValueError(f"every variant gets the same number of candidates, or the comparison is unfair: {said}")
        return self


class DecisionConfig(_Section):
    """Percentile of held-out distances for review; multiple of the largest of them for refusal."""

    review_percentile: float = Field(default=97.0, gt=0, le=100)
    refuse_factor: float = Field(default=1.5, ge=1)
    field_strength_tolerance_t: Positive = 0.2
