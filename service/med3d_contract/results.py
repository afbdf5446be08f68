"""What ``GET /runs/{id}`` says: the words of the results API."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from med3d_contract.prose_reasons import code_and_sentence

Age = Annotated[float, Field(ge=0, le=120, description="years")]


class Frozen(BaseModel):
    """A value: immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunStatus(StrEnum):
    """Where a run stands. The last four are terminal."""

    QUEUED = "queued"
    PREPROCESSING = "preprocessing"
    PREPROCESSED = "preprocessed"
    PREDICTING = "predicting"
    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """No further move follows."""
        return self in TERMINAL


TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.REFUSED, RunStatus.FAILED, RunStatus.CANCELLED})


class Priority(StrEnum):
    """Who goes first."""

    STAT = "stat"
    ROUTINE = "routine"
    COHORT = "cohort"


class Sex(StrEnum):
    """DICOM PatientSex (0010,0040), as far as the model knows it."""

    F = "F"
    M = "M"


class Interval(Frozen):
    """A prediction interval that holds the truth with probability ``level``."""

    level: float = Field(gt=0, lt=1)
    lower: float
    upper: float


class Estimate(Frozen):
    """A number and its interval."""

    estimate: float
    interval: Interval


class ChronologicalAge(Frozen):
    """The subject's age at the scan, and how precisely it is known."""

    years: Age
    source: Literal["form", "birth_date", "patient_age"]
    note: str | None = None


class BrainAge(Frozen):
    """Predicted age in years (UCUM ``a``); gap = estimate - chronological age.

    ``gap_corrected`` has the regression of the gap on age taken out (coefficients in the bundle).
    """

    unit: Literal["a"] = "a"
    estimate: float
    interval: Interval
    chronological_age: ChronologicalAge | None
    gap: Estimate | None
    gap_corrected: Estimate | None


SIMULATED_LABELS = "simulated labels"


class Sdmt(Frozen):
    """Estimated Symbol Digit Modalities Test score, 0 to 110 points. An estimate is never a measured SDMT."""

    unit: Literal["{points}"] = "{points}"
    estimate: float
    interval: Interval | None
    evidence: str = Field(description="what labels the head was trained on; 'simulated labels' for a demonstration")

    @property
    def is_demonstration(self) -> bool:
        """Learned from labels that nobody measured: shown on request, never handed on."""
        return self.evidence == SIMULATED_LABELS


class LatentMap(Frozen):
    """Two-dimensional views of the latent, in the bundle's axes."""

    pca: tuple[float, float]
    pls_age: tuple[float, float]
    pls_sdmt: tuple[float, float] | None


class Latent(Frozen):
    """The encoder's mean."""

    dimension: int
    values: tuple[float, ...]
    map: LatentMap


class OutOfDistribution(Frozen):
    """How far the latent lies from the training cohort; percentile 0 to 100 of held-out training subjects."""

    distance: float
    percentile: float


class Reason(Frozen):
    """Why a person should look at the answer. The codes are stable: docs/refusals.md lists them."""

    code: str
    sentence: str

    @model_validator(mode="before")
    @classmethod
    def _read_prose(cls, value: Any) -> Any:
        """Read what was stored under contract version 5, where a reason was one string."""
        return code_and_sentence(value) if isinstance(value, str) else value

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


class Assessment(Frozen):
    """Whether to trust the number."""

    decision: Literal["accepted", "review"]
    reasons: tuple[Reason, ...] = Field(description="why the decision is review; empty where it is accepted")
    out_of_distribution: OutOfDistribution
    site_correction: Literal["applied", "unknown_site"] | None = Field(
        None,
        description="whether what the scan's site adds to the latent was taken out; null: the model corrects for none",
    )
    calibrated_for: str | None = Field(
        None,
        description="the site whose own healthy heads brain age, gaps, intervals and distance are held against; "
        "null: the model's training cohort",
    )
    calibration_digest: str | None = Field(None, description="sha256 of that site's calibration file")


class Result(Frozen):
    """The answer of a completed run."""

    brain_age: BrainAge
    sdmt: Sdmt | None
    latent: Latent | None = Field(description="null where it was removed when the time to keep it was over")
    assessment: Assessment


class SeriesCandidate(Frozen):
    """A series that was looked at. The label is ours (series number and geometry), never a free text of the sender."""

    label: str
    score: float
    reasons: tuple[str, ...]


class SeriesReport(Frozen):
    """Which series was taken and what else there was."""

    chosen: str | None
    candidates: tuple[SeriesCandidate, ...]


class Quality(Frozen):
    """Measures of the quality gate by name, with the limits that they were held against."""

    measures: dict[str, float | None]
    limits: dict[str, tuple[float | None, float | None]] = Field(description="(lowest, highest) accepted by the bundle")
    failed: tuple[str, ...] = Field(description="names of the measures outside their limits")


class Provenance(Frozen):
    """What made the result, enough to make it again."""

    input_digest: str | None
    preprocessing_digest: str | None
    bundle_digest: str
    software: dict[str, str]
    providers: tuple[str, ...]
    timings_s: dict[str, float]


class Refusal(Frozen):
    """An answer without a number."""

    code: str
    reason: str
    details: dict[str, Any] = Field(default_factory=dict)


class Failure(Frozen):
    """What broke on our side."""

    code: str
    reason: str
    retryable: bool = False


class BundleRef(Frozen):
    """Name, version and digest of the model bundle."""

    name: str
    version: str
    digest: str


class Verdict(StrEnum):
    """What a person made of an answer. A comment decides nothing."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RESCAN = "rescan"
    COMMENT = "comment"


class VerdictRequest(Frozen):
    """A person's verdict on a run: what (else a comment), why (needed unless it is accepted), and who says so."""

    verdict: Verdict = Verdict.COMMENT
    why: Annotated[str, Field(max_length=2000)] = ""
    reader: Annotated[str, Field(max_length=100, description="the person's name; else that of the API key")] = ""


class VerdictView(Frozen):
    """A verdict as it was given. It is never changed: a later one stands in its place, and both are shown."""

    verdict_id: str
    verdict: Verdict
    why: str
    reader: str
    given_by: str = Field(description="kind and name of the caller, as in the audit trail")
    given_at: datetime


class RunView(Frozen):
    """A run as ``GET /runs/{id}`` shows it."""

    run_id: str
    study_id: str
    status: RunStatus
    stage: str | None = Field(description="what is being done now, in words for people")
    attempt: int
    priority: Priority
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    bundle: BundleRef
    refusal: Refusal | None
    failure: Failure | None
    series: SeriesReport | None
    quality: Quality | None
    provenance: Provenance | None
    result: Result | None
    verdict: VerdictView | None = Field(
        None, description="the latest that decides, of a person; GET /runs/{run_id}/verdicts has all of them"
    )
