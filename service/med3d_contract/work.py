"""What a worker and the results API say to each other about one stage of one run.

A stage is claimed (attempt number, lease), kept alive by heartbeats, and ended by exactly one outcome. Every call
carries the attempt: an answer of 409 means that a newer attempt exists and that this one may stop.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from med3d_contract.calibrations import CalibrationFile
from med3d_contract.results import (
    BundleRef,
    ChronologicalAge,
    Failure,
    Frozen,
    Priority,
    Provenance,
    Quality,
    Reason,
    Refusal,
    Result,
    SeriesReport,
    Sex,
)

CONTRACT_VERSION = 8

MOST_AT_ONCE = 64
"""Runs that one call may speak of."""

AttemptNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]
RunId = Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,36}$")]


class WorkerIdentity(Frozen):
    """Who claims: shown by /readyz and kept with the attempt."""

    worker_id: str
    contract_version: int = CONTRACT_VERSION
    software: dict[str, str]
    providers: tuple[str, ...]
    bundles: tuple[BundleRef, ...]
    preprocessing_digests: dict[str, str] = Field({}, description="by bundle digest; equal ones give equal tensors")


class WorkerHello(Frozen):
    """Sent at start and every few seconds after (POST /worker/hello, 204)."""

    worker: WorkerIdentity
    queues: tuple[str, ...]


class ClaimRequest(Frozen):
    """POST /worker/runs/{run_id}/claim: take the preprocess stage of one run, and of others, up to ``limit`` in all.

    They are of the same bundle and priority: what takes milliseconds is taken in bulk.
    """

    worker: WorkerIdentity
    limit: int = Field(1, ge=1, le=MOST_AT_ONCE)


class PredictClaimRequest(Frozen):
    """POST /worker/claims/predict: take the predict stage of up to ``limit`` runs of one bundle."""

    worker: WorkerIdentity
    limit: int = Field(ge=1, le=MOST_AT_ONCE)


class Subject(Frozen):
    """The attributes that the science may use."""

    age: ChronologicalAge | None
    sex: Sex | None
    age_doubt: Reason | None = Field(
        None, description="why no age was taken, or that the stated one is not the images', for review"
    )
    scan_site: str | None = Field(None, description="as the manifest of an import names it")


class PreprocessClaim(Frozen):
    """A claimed preprocess stage."""

    run_id: str
    study_id: str
    attempt: AttemptNumber
    lease_s: float
    priority: Priority
    bundle: BundleRef
    working_copy_key: str = Field(description="object key of a tar with the de-identified files")
    working_copy_sha256: str
    chosen_series: str | None = Field(description="number, stand-in UID or label of the series a caller chose by hand")
    subject: Subject


class PreprocessClaims(Frozen):
    """The run that was asked for, then its companions in the order of their waiting."""

    claims: tuple[PreprocessClaim, ...]


class SourceSeries(Frozen):
    """The instances whose voxels were read, under the stand-in UIDs of the working copy."""

    series_uid: str
    sop_class_uid: str
    instance_uids: tuple[str, ...]


class PreprocessedObject(Frozen):
    """Where an object lies that preprocessing made: the tensor with its affine (see med3d_worker.heads), pictures."""

    key: str
    sha256: str


class Findings(Frozen):
    """What a stage found out beside its answer, as far as it came: the columns of a run with these names."""

    series: SeriesReport | None = None
    quality: Quality | None = None
    provenance: Provenance | None = None
    source: SourceSeries | None = Field(None, description="None for NIfTI, which has no instances")
    pictures: PreprocessedObject | None = Field(None, description="med3d_contract.pictures.BrainPictures as JSON")


class PreparedFindings(Findings):
    """What is known of every head that has a tensor."""

    series: SeriesReport
    quality: Quality
    provenance: Provenance


class TellsFindings(Frozen):
    """An end of a stage, with what was found by then.

    Contract version 6 wrote the findings side by side with the rest; rows and stored outcomes of its time are read.
    """

    attempt: AttemptNumber
    findings: Findings

    @model_validator(mode="before")
    @classmethod
    def _read_version_6(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "findings" in value:
            return value
        findings = {name: value[name] for name in Findings.model_fields if name in value}
        return {name: told for name, told in value.items() if name not in findings} | {"findings": findings}


class Preprocessed(TellsFindings):
    """What a preprocess stage leaves: the run moves to ``preprocessed``."""

    findings: PreparedFindings
    tensor: PreprocessedObject
    acquisition: dict[str, str | float | None] = Field(description="field strength, manufacturer, model; no identifier")
    review_reasons: tuple[Reason, ...] = Field(description="why a person should look, known before prediction")
    series_reasons: tuple[Reason, ...] = Field((), description="those of them that hold for any bundle: of the series")


class PreprocessedRuns(Frozen):
    """PUT /worker/preprocessed: what was left for each run, by id. Idempotent per attempt; answered by StaleRuns."""

    runs: dict[RunId, Preprocessed] = Field(min_length=1, max_length=MOST_AT_ONCE)


class StaleRuns(Frozen):
    """Runs for which a call came too late: a newer attempt exists, or the run has ended. Stop work on them."""

    over: frozenset[str]


class AppraisalRequest(Frozen):
    """GET /worker/studies/{study_id}/appraisal: the study whose series a worker shall look at. 409 where none need."""

    working_copy_key: str
    working_copy_sha256: str


class Appraisal(Frozen):
    """PUT /worker/studies/{study_id}/appraisal: which series can be analysed; of another working copy it is ignored."""

    working_copy_sha256: str
    eligible: tuple[str, ...] = Field(description="fingerprints of the series, equal where the same images make them")


class ExplanationRequest(Frozen):
    """GET /worker/runs/{run_id}/explanation: a run whose number somebody wants explained."""

    bundle_digest: str
    tensor: PreprocessedObject
    age_years: float | None


class VolumesRequest(Frozen):
    """GET /worker/runs/{run_id}/volumes: a run whose head somebody wants to look at.

    tensor: None where there is none (any more), and no change can be shown.
    """

    bundle_digest: str
    working_copy: PreprocessedObject
    series: str = Field(description="label of the series that was analysed")
    tensor: PreprocessedObject | None


class PredictClaim(Frozen):
    """A claimed predict stage, with what preprocessing left."""

    run_id: str
    study_id: str
    attempt: AttemptNumber
    lease_s: float
    bundle: BundleRef
    subject: Subject
    preprocessed: Preprocessed
    calibrations: tuple[str, ...] = Field((), description="digests of the site calibrations that the run may use")


class PredictClaims(Frozen):
    """Up to ``limit`` claims of one bundle; empty when nothing waits."""

    claims: tuple[PredictClaim, ...]
    calibrations: tuple[CalibrationFile, ...] = Field((), description="those that the claims name, each once")


class ActiveAttempt(Frozen):
    """An attempt in hand; ``stage`` says what is being done where that has to be told."""

    run_id: RunId
    attempt: AttemptNumber
    stage: Annotated[str | None, Field(max_length=100, pattern="^[ -~]*$")] = None


class Heartbeat(Frozen):
    """POST /worker/heartbeat: renew the leases of these attempts; answered by StaleRuns."""

    held: tuple[ActiveAttempt, ...] = Field(min_length=1, max_length=MOST_AT_ONCE)


class Release(Frozen):
    """POST /worker/release: attempts on which no work was begun go back to wait, uncharged; answered by StaleRuns."""

    held: tuple[ActiveAttempt, ...] = Field(min_length=1, max_length=MOST_AT_ONCE)


class Completed(TellsFindings):
    """The run ends with a result. ``findings``: what has changed since preprocessing; what is None stays as it was."""

    outcome: Literal["completed"] = "completed"
    result: Result


class Refused(TellsFindings):
    """The run ends with reasons and without a number."""

    outcome: Literal["refused"] = "refused"
    refusal: Refusal


OUR_SURROUNDINGS = frozenset({"disk_full", "store_unavailable", "api_unavailable"})
"""Codes of failures that are not the run's doing: they pass, and use up none of the run's tries."""


class Failed(TellsFindings):
    """The attempt ends with a fault; retryable ones go back to the last waiting state while attempts are left."""

    outcome: Literal["failed"] = "failed"
    findings: Findings = Findings()
    failure: Failure


Outcome = Annotated[Completed | Refused | Failed, Field(discriminator="outcome")]
"""PUT /worker/runs/{run_id}/outcome: idempotent per attempt; 204, or 409 when a newer attempt exists."""


class RunOutcome(Frozen):
    """How one run ended."""

    run_id: RunId
    outcome: Outcome


class StoredOutcomes(Frozen):
    """What lies in the store under ``results/{run_id}.{attempt}.json``, named by the first, until the API accepts it.

    PUT /worker/outcomes takes the same words; answered by StaleRuns.
    """

    outcomes: tuple[RunOutcome, ...] = Field(min_length=1, max_length=MOST_AT_ONCE)
