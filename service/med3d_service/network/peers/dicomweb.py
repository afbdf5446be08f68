"""A peer over DICOMweb: QIDO-RS to find, WADO-RS to fetch (PS3.18 10.6 and 10.4).

The files are taken as they come, byte for byte: read and written again they would no longer be the same instances.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import httpx
from pydicom.tag import Tag

from med3d_contract.json_files import read_json
from med3d_service.network.peers.asking import (
    EXACT,
    MAX_FINDS,
    FoundSeries,
    FoundStudy,
    Instances,
    PeerError,
    require_asked_for,
)
from med3d_service.network.peers.configuration import DicomwebPeer
from med3d_service.network.peers.reaching import Deadline, bounded, code_of, is_page
from med3d_service.studies.dicom_instances.related import DamagedBodyError, NotRelatedError, OtherPartError, RelatedBody

JSON_TYPE = "application/dicom+json"
FILES = 'multipart/related; type="application/dicom"'
ANY_SYNTAX = f"{FILES}; transfer-syntax=*"
MAX_ANSWER_BYTES = 64 * 1024**2
CONNECT_S = 10.0
MOST_INSTANCES = 50_000
"""Of one answer of a peer."""
PIECE_BYTES = 1024 * 1024

STUDY_UID, SERIES_UID, SOP_UID, MODALITY = "0020000D", "0020000E", "00080018", "00080060"
INSTANCES_OF_STUDY, INSTANCES_OF_SERIES = "00201208", "00201209"
Query = Mapping[str, str | list[str]]
"""A key with several values goes out once with each: a percent-encoded comma separates nothing for some peers."""
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


class DicomwebSource:
    """One peer over one HTTP client. Redirects are not followed: they would lead out of the configuration."""

    delivers_to_listener = False

    def __init__(self, peer: DicomwebPeer, *, deadline: Deadline | None = None) -> None:
        self._deadline = deadline
        self._http = httpx.Client(
            base_url=peer.base_url,
            auth=peer.basic_auth,
            headers=peer.headers,
            verify=peer.verify,
            timeout=httpx.Timeout(peer.timeout_s, connect=min(CONNECT_S, peer.timeout_s)),
            trust_env=False,
        )

    def find_studies(self, matching: Mapping[str, str]) -> list[FoundStudy]:
        """Find studies by DICOM keyword and value. Raises PeerError."""
        query = {**matching, "includefield": INSTANCES_OF_STUDY, "limit": str(MAX_FINDS + 1)}
        items = self._search("/studies", query)
        for item in items:
            require_asked_for(matching, {keyword: str(_value(item, f"{Tag(keyword):08X}") or "") for keyword in EXACT})
        if len(items) > MAX_FINDS:
            raise PeerError("query_too_wide")
        return [FoundStudy(_uid(item, STUDY_UID), _count(item, INSTANCES_OF_STUDY)) for item in items]

    def list_series(self, study_uid: str) -> list[FoundSeries]:
        """List the series of a study. Raises PeerError."""
        query = {"includefield": [MODALITY, INSTANCES_OF_SERIES]}
        return [
            FoundSeries(_uid(item, SERIES_UID), str(_value(item, MODALITY) or ""), _count(item, INSTANCES_OF_SERIES))
            for item in self._search(f"/studies/{study_uid}/series", query)
        ]

    def fetch_series(self, study_uid: str, series_uid: str, instances: Instances) -> int:
        """Fetch a series as the peer keeps it; how many instances came. Raises PeerError."""
        return self._fetch(f"/studies/{study_uid}/series/{series_uid}", instances)

    def _fetch(self, path: str, instances: Instances) -> int:
        counted = _Counted(instances)
        if not self._stream(path, ANY_SYNTAX, counted) and not self._stream(path, FILES, counted):
            raise PeerError("peer_rejects")
        return counted.instances

    def list_instances(self, study_uid: str, series_uid: str) -> list[str]:
        """List the SOP Instance UIDs of a series. Raises PeerError."""
        return [_uid(item, SOP_UID) for item in self._search(f"/studies/{study_uid}/series/{series_uid}/instances", {})]

    def fetch_instance(self, study_uid: str, series_uid: str, sop_uid: str, instances: Instances) -> None:
        """Fetch one instance as the peer keeps it. Raises PeerError."""
        self._fetch(f"/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}", instances)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _stream(self, path: str, accept: str, parts: "_Counted") -> bool:
        """Read the instances; False where the peer cannot give such an answer."""
        with self._answer(path, accept) as response:
            if response.status_code == 406:
                return False
            _check(response)
            body = RelatedBody(response.headers.get("content-type", ""), parts, MOST_INSTANCES)
            for piece in response.iter_bytes(PIECE_BYTES):
                body.write(piece)
            body.finish()
            return True

    @contextmanager
    def _answer(self, path: str, accept: str, query: Query | None = None) -> Iterator[httpx.Response]:
        """Send a GET; who hangs up before the answer has not answered, also one that does not like our certificate."""
        request = self._http.build_request(
            "GET", path, params=query, headers={"Accept": accept}, extensions=bounded(self._deadline)
        )
        try:
            response = self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise PeerError(code_of(error)) from error
        with closing(response), _faults_told():
            yield response

    def _search(self, path: str, query: Query) -> list[dict[str, Any]]:
        with self._answer(path, JSON_TYPE, query) as response:
            if response.status_code == 204:
                return []
            _check(response)
            answer = bytearray()
            for piece in response.iter_bytes():
                answer += piece
                if len(answer) > MAX_ANSWER_BYTES:
                    raise PeerError("query_too_wide")
        try:
            items = read_json(bytes(answer))
        except ValueError as error:
            raise PeerError("answer_damaged") from error
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise PeerError("answer_damaged")
        return items


class _Counted:
    """Passes parts on and counts those that ended."""

    def __init__(self, instances: Instances) -> None:
        self.instances = 0
        self.begin = instances.begin
        self.write = instances.write
        self._end = instances.end

    def end(self) -> None:
        self._end()
        self.instances += 1


@contextmanager
def _faults_told() -> Iterator[None]:
    try:
        yield
    except (httpx.RemoteProtocolError, httpx.DecodingError, DamagedBodyError, NotRelatedError, OtherPartError) as error:
        raise PeerError("answer_damaged") from error
    except httpx.HTTPError as error:
        raise PeerError(code_of(error)) from error


def _check(response: httpx.Response) -> None:
    status = response.status_code
    if status in {401, 403, 407}:
        raise PeerError("peer_denied")
    if status == 404:
        raise PeerError("nothing_found")
    if status in {408, 425, 429} or status >= 500:
        raise PeerError("peer_failed")
    if 300 <= status < 400:
        raise PeerError("peer_redirects")
    if status not in {200, 206}:
        raise PeerError("peer_rejects")
    if is_page(response.headers):
        raise PeerError("answer_is_a_page")


def _value(item: dict[str, Any], tag: str) -> Any:
    """Return the first value of an attribute in DICOM JSON (PS3.18 F.2); None where there is none."""
    attribute = item.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _uid(item: dict[str, Any], tag: str) -> str:
    value = _value(item, tag)
    if not isinstance(value, str) or len(value) > 64 or not _UID.fullmatch(value):
        raise PeerError("answer_damaged")  # it would become part of an address
    return value


def _count(item: dict[str, Any], tag: str) -> int | None:
    value = _value(item, tag)
    return int(value) if isinstance(value, int | str) and re.fullmatch(r"[0-9]{1,9}", str(value)) else None
