"""What the courier and its sandboxed child say to each other, as JSON over pipes."""

from enum import StrEnum

from pydantic import Field, SecretStr

from med3d_contract.results import Frozen


class Limits(Frozen):
    """What the operating system lets the child have."""

    memory_bytes: int
    cpu_s: int
    file_bytes: int


class Member(Frozen):
    """Where an original lies: in which of the job's sealed containers, and where in its plaintext."""

    container: int = 0
    kind: str
    offset_bytes: int
    size_bytes: int


class Job(Frozen):
    """One study to copy. The keys travel through the pipe alone, never by command line or environment."""

    containers: tuple[str, ...]
    container_key: SecretStr
    uid_key: SecretStr
    members: tuple[Member, ...]
    target: str


class Finding(StrEnum):
    """How copying ended."""

    COPIED = "copied"
    NO_IMAGES = "no_images"
    UNREADABLE_FILE = "unreadable_file"
    SEVERAL_PATIENTS = "several_patients"
    ORIGINAL_DAMAGED = "original_damaged"  # a stored container is gone or altered: says nothing about the study, too
    DISK_FAULT = "disk_fault"  # the disk failed the child: says nothing about the study


class Report(Frozen):
    """What the child found. Everything from ``patient_id`` on identifies and goes to the encrypted table alone."""

    finding: Finding
    copied: int = 0
    skipped: int = 0
    sex: str = ""
    patient_age: str = ""
    birth_date: str = ""
    study_date: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    study_uid: str = ""
    study_time: str = ""
    study_id: str = ""
    referring_physician: str = ""
    issuer_of_patient_id: str = ""
    uids: dict[str, str] = Field(default_factory=dict, description="stand-in -> original")
