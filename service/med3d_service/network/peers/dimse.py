"""A peer over DIMSE: C-FIND to find, C-GET or C-MOVE to fetch (PS3.4 Annex C), one association per question."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from med3d_service.network.peers.asking import (
    EXACT,
    MAX_FINDS,
    FoundSeries,
    FoundStudy,
    Instances,
    PeerError,
    require_asked_for,
)
from med3d_service.network.peers.association import Attempt, associated
from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.studies.dicom_instances.instance_headers import DERIVED_CLASSES, INPUT_CLASSES, TRANSFER_SYNTAXES

STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
OTHER_CLASSES = (
    *sorted(DERIVED_CLASSES),
    "1.2.840.10008.5.1.4.1.1.4.2",  # MR Spectroscopy
    "1.2.840.10008.5.1.4.1.1.4.3",  # Enhanced MR Color Image
    "1.2.840.10008.5.1.4.1.1.66",  # Raw Data
)
"""What scanners put into MR series beside images. Without a context for it, a C-GET would never be whole."""
STUDY_KEYS = ("StudyInstanceUID", "NumberOfStudyRelatedInstances")
SERIES_KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
"""What a C-FIND asks to be told; what studies are matched by is the question's own."""
PENDING, SUCCESS, WARNING = (0xFF00, 0xFF01), 0x0000, 0xB000
OUT_OF_RESOURCES = 0xA700
NO_ASSOCIATION = {
    "nothing_offered": "peer_rejects",
    "peer_busy": "peer_failed",
    "peer_silent": "peer_unreachable",
    "peer_hangs_up": "peer_unreachable",
}
"""What a pull is told where there is no association; the rest is told as it is."""
MAX_SERIES = 10_000
"""Of one study; a peer that goes on answering would fill the memory."""
# PS3.4 C.4.1.1.4 and C.4.3.1.4: what trying again does not mend.
REJECTED = frozenset({0x0122, 0xA900})
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


class DimseSource:
    """One peer as its SCU."""

    def __init__(self, peer: DimsePeer, *, most_series: int = MAX_SERIES) -> None:
        self._peer, self._most_series = peer, most_series

    @property
    def delivers_to_listener(self) -> bool:
        """A C-MOVE has the peer send to our own listener."""
        return self._peer.retrieve == "c-move"

    def find_studies(self, matching: Mapping[str, str]) -> list[FoundStudy]:
        """Find studies by DICOM keyword and value. Raises PeerError."""
        asked = dict.fromkeys(STUDY_KEYS, "") | dict(matching)
        answers = self._find("STUDY", asked)
        for answer in answers:
            require_asked_for(matching, {keyword: str(answer.get(keyword) or "") for keyword in EXACT})
        return [
            FoundStudy(_uid(answer, "StudyInstanceUID"), _count(answer, "NumberOfStudyRelatedInstances"))
            for answer in answers
        ]

    def list_series(self, study_uid: str) -> list[FoundSeries]:
        """List the series of a study. Raises PeerError."""
        asked = dict.fromkeys(SERIES_KEYS, "") | {"StudyInstanceUID": study_uid}
        return [
            FoundSeries(
                _uid(answer, "SeriesInstanceUID"),
                str(answer.get("Modality") or ""),
                _count(answer, "NumberOfSeriesRelatedInstances"),
            )
            for answer in self._find("SERIES", asked)
        ]

    def fetch_series(self, study_uid: str, series_uid: str, instances: Instances) -> int:
        """Fetch a series by C-GET, or have it sent by C-MOVE; how many instances the peer sent. Raises PeerError."""
        asked = _identifier("SERIES", {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid})
        if self.delivers_to_listener:
            return self._move(asked)
        return self._get(asked, instances)

    def close(self) -> None:
        """Do nothing: nothing stays open."""

    def _find(self, level: Literal["STUDY", "SERIES"], asked: Mapping[str, str]) -> list[Dataset]:
        model = STUDY_ROOT_FIND
        answers: list[Dataset] = []
        with self._association([build_context(model)]) as association:
            for status, answer in association.send_c_find(_identifier(level, asked), model):
                if _pending(status) and answer is not None:
                    answers.append(answer)
                    if len(answers) > (MAX_FINDS if level == "STUDY" else self._most_series):
                        association.abort()
                        raise PeerError("query_too_wide")
        return answers

    def _get(self, asked: Dataset, instances: Instances) -> int:
        model = STUDY_ROOT_GET
        taken = _Taken(instances)
        with self._association([build_context(model), *contexts_of_get()], taken) as association:
            for status, _ in association.send_c_get(asked, model):
                if taken.error is not None:
                    association.abort()
                    raise taken.error
                _check_sub_operations(status)
        return taken.instances

    def _move(self, asked: Dataset) -> int:
        model = STUDY_ROOT_MOVE
        completed = 0
        with self._association([build_context(model)]) as association:
            for status, _ in association.send_c_move(asked, self._peer.destination, model):
                completed = int(status.get("NumberOfCompletedSuboperations") or completed) if status else completed
                _check_sub_operations(status)
        return completed

    @contextmanager
    def _association(self, contexts: list[PresentationContext], taken: "_Taken | None" = None) -> Iterator[Association]:
        roles = [] if taken is None else [build_role(uid, scp_role=True) for uid in (*INPUT_CLASSES, *OTHER_CLASSES)]
        handlers = [] if taken is None else [(evt.EVT_C_STORE, taken.store)]
        attempt = Attempt()
        with associated(self._peer, contexts, roles=roles, handlers=handlers, attempt=attempt) as association:
            if not association.is_established:
                raise PeerError(NO_ASSOCIATION.get(attempt.code, attempt.code))
            if all(one.abstract_syntax != contexts[0].abstract_syntax for one in association.accepted_contexts):
                raise PeerError("peer_rejects")
            try:
                yield association
            except (ValueError, RuntimeError) as error:  # the peer went away in between
                raise PeerError("peer_failed") from error


def contexts_of_get() -> list[PresentationContext]:
    """Return what is asked for beside the C-GET itself, for the instances that it brings."""
    # A context for each syntax, so that the peer need not convert; what travels with images need only arrive.
    images = [build_context(uid, syntax) for uid in sorted(INPUT_CLASSES) for syntax in TRANSFER_SYNTAXES]
    return [*images, *(build_context(uid) for uid in OTHER_CLASSES)]


class _Taken:
    """What a C-GET brings, handed on as it comes, byte for byte."""

    def __init__(self, instances: Instances) -> None:
        self.instances = 0
        self.error: Exception | None = None
        self._instances = instances

    def store(self, event: evt.Event) -> int:
        try:
            self._instances.take(event.encoded_dataset())
        except Exception as error:  # noqa: BLE001 - the edge of the library's thread; told to who asked
            self.error = error
            return OUT_OF_RESOURCES
        self.instances += 1
        return SUCCESS


def _identifier(level: str, asked: Mapping[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in asked.items():
        setattr(identifier, keyword, value)
    if not all(value.isascii() for value in asked.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    return identifier


def _pending(status: Dataset) -> bool:
    """Tell whether an answer came with this status. Raises PeerError for every end that is none."""
    if not status:  # pynetdicom: time-out, abort, or an answer that is none
        raise PeerError("peer_unreachable")
    if status.Status in PENDING:
        return True
    if status.Status == SUCCESS:
        return False
    raise PeerError("peer_rejects" if status.Status in REJECTED else "peer_failed")


def _check_sub_operations(status: Dataset) -> None:
    if not status:
        raise PeerError("peer_unreachable")
    if status.Status == WARNING or int(status.get("NumberOfFailedSuboperations") or 0):
        raise PeerError("answer_incomplete")
    _pending(status)


def _uid(answer: Dataset, keyword: str) -> str:
    value = str(answer.get(keyword) or "")
    if len(value) > 64 or not _UID.fullmatch(value):
        raise PeerError("answer_damaged")
    return value


def _count(answer: Dataset, keyword: str) -> int | None:
    value: Any = answer.get(keyword)
    return int(value) if re.fullmatch(r"[0-9]{1,9}", str(value or "")) else None
