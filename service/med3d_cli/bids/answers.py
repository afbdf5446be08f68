"""The answer to one scan as it lies in the derivative: what GET /runs/{id} says, and from what it was made."""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from med3d_cli.bids.dataset import Scan
from med3d_contract.results import BundleRef, ChronologicalAge, Frozen, Reason, RunStatus, Sex
from med3d_worker.analysis import AnalysedInput
from med3d_worker.preparing.preparation import acquisition_fields

Matrix = tuple[tuple[float, float, float, float], ...]


class Basis(Frozen):
    """All that an answer depends on: where two are equal, so are the answers."""

    image_sha256: str
    age: ChronologicalAge | None
    age_doubt: Reason | None
    sex: Sex | None
    acquisition: dict[str, str | float | None]
    contrast_agent: bool | None
    bundle: BundleRef
    calibrations: tuple[str, ...]
    version: str


class ScanAnswer(AnalysedInput):
    """One ``*_brainage.json``. ``input``: the image, below the dataset. Distances in mm, RAS+."""

    format: Literal[1] = 1
    scan: str
    participant_id: str
    session_id: str | None
    entities: dict[str, str]
    basis: Basis
    answered_at: datetime
    files: dict[str, str]
    tensor_sha256: str | None = None
    template_to_native: Matrix | None = None

    @property
    def is_final(self) -> bool:
        """A failure is tried again; a number or a refusal stands."""
        return self.status in {RunStatus.COMPLETED, RunStatus.REFUSED}


def basis_of(scan: Scan, image_sha256: str, bundle: BundleRef, calibrations: tuple[str, ...], version: str) -> Basis:
    """Gather what the answer to ``scan`` will depend on."""
    return Basis(
        image_sha256=image_sha256,
        age=scan.age.age,
        age_doubt=scan.age.doubt,
        sex=scan.sex,
        acquisition=acquisition_fields(scan.acquisition),
        contrast_agent=scan.acquisition.contrast_agent,
        bundle=bundle,
        calibrations=calibrations,
        version=version,
    )


def read_answer(path: Path) -> ScanAnswer | None:
    """Read an answer; None where there is none, or one that another release wrote in another form."""
    try:
        return ScanAnswer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def as_matrix(values: Any) -> Matrix:
    """Turn a (4, 4) array into rows of numbers."""
    return tuple(tuple(round(float(value), 9) for value in row) for row in values)  # type: ignore[misc]
