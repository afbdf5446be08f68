"""What the courier and its sandboxed child say to each other, as JSON over pipes."""

import json
from enum import StrEnum
from typing import Any

from pydantic import Field, SecretStr

from med3d_contract.results import Frozen

SCAN_DATE = "scan_date"
"""The identifier that holds the date of acquisition, or what stands in for a StudyDate that was taken out."""
IDENTIFYING = (
    "patient_id",
    "patient_name",
    "birth_date",
    "study_date",
    SCAN_DATE,
    "accession_number",
    "study_uid",
    "study_time",
    "study_id",
    "referring_physician",
    "issuer_of_patient_id",
)
"""What of a report identifies: it goes to the encrypted table alone."""
STUDY_ATTRIBUTES = "study_attributes"
"""The identifier that holds what a PACS shows of the whole study (STUDY_LEVEL), as JSON."""
STUDY_LEVEL = (
    "study_description",
    "institution_name",
    "patient_age",
    "other_patient_ids",
    "requesting_physician",
    "requested_procedure",
    "timezone_offset",
)
SERIES_DESCRIPTIONS = "series_descriptions"
"""The identifier that holds what the scanner calls its series, by number, as JSON."""
PATIENTS = "patients"
"""The identifier that holds all patients of a study whose images name several, as JSON."""


class Limits(Frozen):
    """What the operating system lets the child have."""

    memory_bytes: int
    cpu_s: int
    file_bytes: int


class Member(Frozen):
    """Where an original lies: in which of the job's sealed containers, and where in its plaintext.

    ``name``: what is kept of its name, where the study holds several volumes.
    """

    container: int = 0
    kind: str
    name: str = ""
    offset_bytes: int
    size_bytes: int


class Container(Frozen):
    """A sealed container of originals: where it lies here, the name that it opens under, and its recorded digest.

    ``key`` opens this file alone.
    """

    path: str
    upload_id: str
    site: str
    sha256: str
    key: SecretStr


class Job(Frozen):
    """One study to copy. Keys travel through the pipe alone, and none of them opens another study's originals.

    ``uid_key`` makes stand-ins for UIDs, and opens nothing. ``same_patients``: PatientIDs that are one patient's.
    """

    containers: tuple[Container, ...]
    uid_key: SecretStr
    members: tuple[Member, ...]
    target: str
    same_patients: tuple[tuple[str, str], ...] = Field((), repr=False)
    character_set: str = ""
    """Of text in files that state none."""

    def told(self) -> str:
        """Return the job as JSON with its keys written out: a secret does not show itself in model_dump_json."""
        containers = [one.model_dump(mode="json") | {"key": one.key.get_secret_value()} for one in self.containers]
        said = self.model_dump(mode="json") | {"uid_key": self.uid_key.get_secret_value(), "containers": containers}
        return json.dumps(said)


class Finding(StrEnum):
    """How copying ended."""

    COPIED = "copied"
    NO_IMAGES = "no_images"
    UNREADABLE_FILE = "unreadable_file"
    SEVERAL_PATIENTS = "several_patients"
    ORIGINAL_DAMAGED = "original_damaged"  # a stored container is gone or altered: says nothing about the study, too
    DISK_FAULT = "disk_fault"  # the disk failed the child: says nothing about the study


class NamedPatient(Frozen):
    """One of several patients that the images of a study name, as they name them."""

    patient_id: str = Field("", repr=False)
    name: str = Field("", repr=False)
    birth_date: str = Field("", repr=False)


class Report(Frozen):
    """What the child found. IDENTIFYING, ``patients`` and ``uids`` go to the encrypted table alone.

    patients: all of them where they are several, else empty.
    """

    finding: Finding
    copied: int = 0
    skipped: int = 0
    sex: str = ""
    age: dict[str, Any] | None = Field(None, description="what the images agree on (med3d_contract.ages.storable_age)")
    series_ages: dict[str, dict[str, Any] | None] = Field(
        default_factory=dict, description="the same of each series, by its stand-in UID"
    )
    birth_date: str = ""
    study_date: str = ""
    scan_date: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    study_uid: str = ""
    study_time: str = ""
    study_id: str = ""
    referring_physician: str = ""
    issuer_of_patient_id: str = ""
    patients: tuple[NamedPatient, ...] = ()
    study_attributes: dict[str, str] = Field(default_factory=dict, repr=False, description="those of STUDY_LEVEL")
    series_descriptions: dict[str, str] = Field(
        default_factory=dict, repr=False, description="by series number, where all images of that number agree"
    )
    uids: dict[str, str] = Field(default_factory=dict, description="stand-in -> original")
    unconfined: tuple[str, ...] = Field((), description="protections that the kernel did not give the child")
    pixels: str = Field("", description="digest of what all images show; empty where none shows anything")
    is_compressed: bool = Field(default=False, description="pixels is of code streams: another syntax has others")
    is_under_several_ids: bool = Field(default=False, description="of one patient, by what messages have said")
    deidentified: bool = Field(default=False, description="an image says that its patient's identity was removed")
