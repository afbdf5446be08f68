"""What a peer can be asked, whichever protocol it speaks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

MAX_FINDS = 100
"""A search that matches more studies is a mistake, and would keep a PACS busy for hours."""

FAULTS: Mapping[str, tuple[str, bool]] = {
    # code: (what is told, whether it may pass)
    "unknown_peer": ("The peers' file no longer names this peer.", False),
    "peer_unreachable": ("The peer does not answer.", True),
    "peer_untrusted": ("The peer shows a certificate that is not trusted; see tls.ca_file and the peer's host.", True),
    "peer_tls": ("TLS with the peer fails; see whether both sides speak it, and the certificates of both.", True),
    "peer_redirects": ("The peer sends us elsewhere, perhaps to log in; see its address and the credentials.", True),
    "answer_is_a_page": ("The peer answers with a web page; see its address and the credentials.", True),
    "peer_denied": ("The peer does not let us in; see the credentials or AE titles on both sides.", True),
    "peer_failed": ("The peer took the request and failed.", True),
    "peer_rejects": ("The peer does not take such a request.", False),
    "nothing_found": ("The peer has no such study.", False),
    "search_ignored": (
        "The peer answers with studies that were not asked for. Ask by another attribute, or for the study's UID.",
        False,
    ),
    "query_too_wide": (f"More than {MAX_FINDS} studies match. Ask for a shorter span or one patient.", False),
    "answer_damaged": ("The peer's answer is damaged or ends early.", True),
    "answer_incomplete": ("The peer sent fewer instances than it says that it has.", True),
    "store_full": ("The service has no room left; the operator must make some.", True),
    "internal_error": ("Something broke on our side; the log says what.", True),
}


class PeerError(Exception):
    """A peer could not be asked, or its answer is of no use. ``code`` is one of FAULTS; no text of the peer is kept."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason, self.may_pass = FAULTS[code]


@dataclass(frozen=True)
class FoundStudy:
    """A study at the peer, and how many instances it says that there are."""

    study_uid: str
    instances: int | None


@dataclass(frozen=True)
class FoundSeries:
    """A series at the peer; empty or None where the peer does not say."""

    series_uid: str
    modality: str
    instances: int | None


EXACT = ("StudyInstanceUID", "PatientID", "AccessionNumber")


def require_asked_for(matching: Mapping[str, str], told: Mapping[str, str]) -> None:
    """Refuse an answer to a search that names another study, patient or accession than was asked for.

    told: what the answer says by keyword; what it leaves out is not held against it.
    Raises PeerError("search_ignored").
    """
    for keyword in EXACT:
        said = told.get(keyword, "").strip()
        if keyword in matching and said and said.casefold() != matching[keyword].strip().casefold():
            raise PeerError("search_ignored")


class Instances(Protocol):
    """Where fetched instances go: in pieces, or whole. Either may wait."""

    def begin(self) -> None:
        """Start the next instance."""

    def write(self, data: bytes) -> None:
        """Take a piece of it."""

    def end(self) -> None:
        """End it."""

    def take(self, file: bytes) -> None:
        """Take a whole instance (PS3.10)."""


class PeerSource(Protocol):
    """A peer that can be searched and fetched from. Every method raises PeerError."""

    @property
    def delivers_to_listener(self) -> bool:
        """The peer sends what is fetched to our own listener, and ``fetch_series`` hands over nothing."""

    def find_studies(self, matching: Mapping[str, str]) -> list[FoundStudy]:
        """Find studies by DICOM keyword and value, at most MAX_FINDS."""

    def list_series(self, study_uid: str) -> list[FoundSeries]:
        """List the series of a study."""

    def fetch_series(self, study_uid: str, series_uid: str, instances: Instances) -> int:
        """Fetch a series; how many instances the peer sent."""

    def close(self) -> None:
        """End the connection."""


@runtime_checkable
class ListsInstances(Protocol):
    """A peer that tells cheaply which instances a series has. C-FIND on images is slow with many archives."""

    def list_instances(self, study_uid: str, series_uid: str) -> list[str]:
        """Return the SOP Instance UIDs of a series. Raises PeerError."""

    def fetch_instance(self, study_uid: str, series_uid: str, sop_uid: str, instances: Instances) -> None:
        """Fetch one instance. Raises PeerError."""
