"""Site calibrations on their way through the service, which keeps their bytes and reads no more than it has to show."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from med3d_contract.results import Frozen

MOST_CHARACTERS = 2**18
SIGNATURE_CHARACTERS = 88
"""Of 64 bytes in base64."""
SITE_PATTERN = r"^[^\W_][\w .,()+/-]{0,63}$"
"""A label without markup; the pipeline has the same."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class CalibrationUpload(Frozen):
    """POST /calibrations: a file of `med3d calibrate` and its signature, both as they are, in base64."""

    file: Base64Bytes = Field(max_length=MOST_CHARACTERS, description="site_calibration.json")
    signature: Base64Bytes = Field(
        min_length=SIGNATURE_CHARACTERS,
        max_length=SIGNATURE_CHARACTERS,
        description="site_calibration.json.sig (Ed25519)",
    )


class CalibrationView(Frozen):
    """A calibration that the service hands to workers until it expires or is withdrawn."""

    digest: Sha256 = Field(description="sha256 of the file: what an answer's calibration_digest names")
    site: str = Field(description="the label that answers show as calibrated_for")
    bundle_digest: Sha256
    heads: int
    expires: date
    added_at: datetime
    withdrawn_at: datetime | None


class CalibrationList(Frozen):
    """The calibrations of the caller's site, the newest first."""

    items: tuple[CalibrationView, ...]


class CalibrationFile(Frozen):
    """A calibration as workers get it: they alone verify it, by the keys that are trusted where they run."""

    digest: Sha256
    file: Base64Bytes
    signature: Base64Bytes


class _BundleName(BaseModel):
    digest: Sha256


class CalibrationHeader(BaseModel):
    """What the service reads of a file; numbers are the workers' matter."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1]
    site: Annotated[str, Field(pattern=SITE_PATTERN)]
    bundle: _BundleName
    heads: int = Field(ge=1)
    expires: date
