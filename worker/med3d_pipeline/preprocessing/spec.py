"""How heads are preprocessed, as one frozen value that travels in the bundle (preprocessing.json)."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NUMERICS_VERSION = 8
"""Raised whenever the code gives other numbers for the same spec. Part of the digest: no cached tensor outlives it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BiasFieldSpec(_Frozen):
    """N4: the voxels that it works on, and how it climbs on each level of its B-spline grid (``n4.Climb``)."""

    grid_mm: float = Field(default=4.0, gt=0)
    iterations: tuple[Annotated[int, Field(gt=0)], ...] = (50, 50, 50)
    convergence: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1, description="0 in bundles that do not state it")


class RegistrationLevel(_Frozen):
    """One level of the search: grid of the template, blur of both images, degrees of freedom."""

    model: Literal["similarity", "affine"]
    grid_mm: float = Field(gt=0)
    blur_mm: float = Field(ge=0, description="standard deviation of the Gaussian")
    iterations: int = Field(gt=0)


class RegistrationSpec(_Frozen):
    """Affine alignment of the brain to the template's."""

    levels: tuple[RegistrationLevel, ...] = (
        RegistrationLevel(model="similarity", grid_mm=8, blur_mm=6, iterations=30),
        RegistrationLevel(model="affine", grid_mm=8, blur_mm=4, iterations=30),
        RegistrationLevel(model="affine", grid_mm=4, blur_mm=2, iterations=30),
        RegistrationLevel(model="affine", grid_mm=3, blur_mm=1.3, iterations=20),
    )


class IntensitySpec(_Frozen):
    """Robust scaling: these percentiles of the brain become 0 and 1."""

    low_percentile: float = Field(default=2.0, ge=0, lt=100)
    high_percentile: float = Field(default=98.0, gt=0, le=100)
    highest: float = Field(default=1.25, ge=1, description="brighter voxels are set to this")


class PreprocessSpec(_Frozen):
    """Everything that decides the tensor's numbers, apart from the networks and the template.

    The grid lies along the template's axes (RAS), centred on the middle of the box around the template's brain.
    """

    shape: tuple[int, int, int] = (64, 64, 64)
    spacing_mm: float = Field(default=3.0, gt=0)
    prefilter_fwhm: float = Field(
        default=1.25, ge=0, description="full width at half maximum of the blur that a grid voxel sees, in grid voxels"
    )
    working_grid_mm: float = Field(
        default=2.0, gt=0, description="finer voxels are averaged to about this before all but the brain extraction"
    )
    bias_field: BiasFieldSpec = BiasFieldSpec(iterations=(50, 50, 50, 50), momentum=0.7)
    registration: RegistrationSpec = RegistrationSpec()
    intensity: IntensitySpec = IntensitySpec()

    def digest(self) -> str:
        """Return sha256 over the spec and NUMERICS_VERSION, hex: equal digests give equal tensors on one machine."""
        said = {"numerics": NUMERICS_VERSION, "spec": self.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


Limits = tuple[float | None, float | None]


def _refuse() -> dict[str, Limits]:
    return {
        "brain_volume_ml": (800.0, 2050.0),
        "template_overlap": (0.90, None),
        "registration_similarity": (0.90, None),
        "affine_determinant": (0.80, 2.30),
        "affine_anisotropy": (None, 1.50),
        "template_outside_view": (None, 0.05),
        "brain_at_edge_cm2": (None, 15.0),
        "brain_at_removed_face_cm2": (None, 90.0),
        "blank_slices_mm": (None, 0.0),
        "signal_to_noise": (2.5, None),
        "contrast_to_noise": (1.7, None),
        "white_over_grey": (0.05, None),
        "clipped_bright_share": (None, 0.05),
        "clipped_dark_share": (None, 0.04),
        "ghost_share": (None, 0.1),
        "tissue_correlation": (0.15, None),
        "gain_by_turning": (None, 0.01),
    }


def _review() -> dict[str, Limits]:
    return {
        "brain_volume_ml": (1000.0, 2000.0),
        "template_overlap": (0.93, None),
        "registration_similarity": (0.94, None),
        "affine_anisotropy": (None, 1.35),
        "template_outside_view": (None, 0.01),
        "brain_at_edge_cm2": (None, 5.0),
        "brain_at_removed_face_cm2": (None, 5.0),
        "signal_to_noise": (5.0, None),
        "contrast_to_noise": (3.0, None),
        "white_over_grey": (0.08, None),
        "clipped_bright_share": (None, 0.02),
        "clipped_dark_share": (None, 0.01),
        "repeated_slices_mm": (None, 0.0),
        "ghost_share": (None, 0.06),
        "tissue_correlation": (0.25, None),
    }


class QualityLimits(_Frozen):
    """Measure name -> (lowest, highest) accepted: outside ``refuse`` no answer is given, outside ``review`` one looks.

    The defaults leave room on both sides of what 140 good heads of four scanners and an average head gave; what was
    measured on them and on what is no head stands in docs/decisions/0023.
    """

    refuse: dict[str, Limits] = Field(default_factory=_refuse)
    review: dict[str, Limits] = Field(default_factory=_review)
