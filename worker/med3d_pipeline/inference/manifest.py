"""What a bundle says of itself: manifest.json."""

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MANIFEST = "manifest.json"
SIMULATED_LABELS = "simulated labels"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingData(_Part):
    """Whom the model was trained on, from where, and under which licence."""

    name: str
    description: str
    source: str
    licence: str
    subjects: int = Field(ge=1)
    age_range_years: tuple[float, float]
    field_strengths_t: tuple[float, ...]
    vendors: tuple[str, ...]


class HeadDescription(_Part):
    """One prediction head: its unit (UCUM) and the labels that it learned from."""

    unit: str
    evidence: str

    @property
    def is_demonstration(self) -> bool:
        """Learned from labels that nobody measured."""
        return self.evidence == SIMULATED_LABELS


class DecisionLimits(_Part):
    """Where a prediction stops to be accepted: percentile of held-out scores for review, a score for refusal.

    The scores are the latent's distance and, where the bundle has a decoder and ``refuse_reconstruction_error``, what
    the decoder cannot show of the head.
    """

    interval_level: float = Field(gt=0, lt=1)
    review_percentile: float = Field(gt=0, le=100)
    refuse_distance: float = Field(gt=0)
    # Left out where it is not stated: a bundle that is older than this limit keeps its digest.
    refuse_reconstruction_error: float | None = Field(default=None, gt=0, exclude_if=lambda limit: limit is None)
    field_strength_tolerance_t: float = Field(gt=0)


class Manifest(_Part):
    """The bundle's table of contents, origin, metrics and limits.

    ``files`` maps every other file of the bundle (relative, forward slashes) to its sha256.
    """

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str
    description: str
    intended_use: str
    limits: tuple[str, ...]
    licence: str
    training_data: TrainingData
    latent_dimension: int = Field(ge=2)
    brain_age: HeadDescription
    sdmt: HeadDescription | None
    decision: DecisionLimits
    metrics: dict[str, float]
    software: dict[str, str]
    files: dict[str, Sha256]

    @field_validator("files")
    @classmethod
    def _paths_stay_inside(cls, files: dict[str, Sha256]) -> dict[str, Sha256]:
        for name in files:
            path = PurePosixPath(name)
            if not name or "\\" in name or ":" in name or path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError(f"{name!r} is no plain path inside the bundle")
        return files

    @model_validator(mode="after")
    def _sdmt_has_both_or_neither(self) -> Self:
        if (self.sdmt is None) == ("heads/sdmt.onnx" in self.files):
            raise ValueError("the SDMT head needs both its description and heads/sdmt.onnx")
        return self

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON (sorted keys, no spaces, UTF-8): the identity of the whole bundle."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
