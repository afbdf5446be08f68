"""A run as it is stored, for whoever derives it again: what went in, what came out, and what made it."""

from pydantic import Field

from med3d_contract.calibrations import CalibrationFile
from med3d_contract.results import BundleRef, Frozen, Provenance, Refusal, Result, RunStatus
from med3d_contract.work import PreprocessedObject, Subject


class StoredRun(Frozen):
    """An answered run with its input."""

    run_id: str
    status: RunStatus
    bundle: BundleRef
    working_copy: PreprocessedObject = Field(description="the tar with the de-identified files")
    chosen_series: str | None
    subject: Subject
    tensor: PreprocessedObject | None
    result: Result | None
    refusal: Refusal | None
    provenance: Provenance | None
    calibration: CalibrationFile | None = Field(
        None, description="the one that the result names, where the service has it; withdrawn ones, too"
    )
