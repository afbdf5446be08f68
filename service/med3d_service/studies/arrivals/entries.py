"""What is asked of the journal of arriving instances, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True)
class Entry:
    """One instance that lies in the store.

    ``told_apart`` and ``same_pixels``: digests of stored instances of its SOP UID that have other pixels, or the same.
    ``corrects``: of the latter those of another identity, with the index of that identity.
    """

    site: str
    source: str
    study_index: str
    patient_index: str | None
    sop_index: str
    digest: str
    upload_id: str
    stored_sha256: str
    stored_bytes: int
    size_bytes: int
    rule: str | None
    priority: int | None
    bundle: str | None
    told_apart: frozenset[str] = frozenset()
    same_pixels: frozenset[str] = frozenset()
    corrects: Mapping[str, str] = field(default_factory=dict)
    identity_index: str | None = None
    peer: str = ""  # AE title or name of the peer
    sender: str = ""  # the same with the address, for the audit trail
    called: str = ""  # the AE title of ours that it was sent to

    @property
    def study(self) -> tuple[str, str]:
        """What tells its study from others."""
        return self.site, self.study_index


class Finding(StrEnum):
    """What came of an entry."""

    NEW = "new"
    KNOWN = "known"
    SAME_UID = "same_uid"  # not recorded: the caller must compare the pixels first


@dataclass(frozen=True)
class Rival:
    """A stored instance of the same SOP UID. identity_index: None where it was not noted."""

    digest: str
    sop_index: str
    upload_id: str
    identity_index: str | None


@dataclass(frozen=True)
class Recorded:
    """``rivals``: what must be compared with. is_stale: known, and under an identity that was corrected since."""

    finding: Finding
    arrival_id: str
    fault: str | None = None
    rivals: tuple[Rival, ...] = ()
    is_stale: bool = False
