"""Taking objects back from an Orthanc that were filed under a patient who was corrected since.

Between the correction there and its news here lies a minute or more, in which an answer still goes out under the old
name, and brings the old patient back. DICOM knows no way to take an instance back; Orthanc's own interface does.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from pydicom import Dataset, dcmread

from med3d_contract.json_files import read_json
from med3d_service.network.peers.configuration import DicomwebPeer
from med3d_service.results.delivery.sending import NotDeliveredError
from med3d_service.results.kinds import Kind

MadeObjects = Callable[[str, Kind], Sequence[bytes]]
"""All objects that were made of a run, of one kind, also of one that is withdrawn."""
_WHO = ("PatientID", "PatientName", "PatientBirthDate")
_ORTHANC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")


class OrthancRecall:
    """Removes from one Orthanc what it holds of ours as it was sent; what was corrected there stays."""

    def __init__(self, peer: DicomwebPeer, made: MadeObjects) -> None:
        self._peer, self._made = peer, made

    def __call__(self, run_id: str, kind: Kind) -> int:
        """Take back what was made of a run; how many instances were removed. Raises NotDeliveredError."""
        peer, orthanc = self._peer, self._peer.orthanc
        assert orthanc is not None
        with httpx.Client(
            base_url=orthanc.base_url,
            auth=peer.basic_auth,
            headers=peer.headers,
            verify=peer.verify,
            timeout=peer.timeout_s,
            trust_env=False,
        ) as http:
            return sum(_Orthanc(http).take_back(content) for content in self._made(run_id, kind))


class _Orthanc:
    """One Orthanc's own interface."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def take_back(self, content: bytes) -> int:
        """Remove an object where it lies as it was sent; how many instances. Raises NotDeliveredError."""
        sent = dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=["SOPInstanceUID", *_WHO])
        removed = 0
        for orthanc_id in self._held(str(sent.SOPInstanceUID)):
            if self._is_as_sent(orthanc_id, sent):
                self._ask("DELETE", f"/instances/{orthanc_id}")
                removed += 1
        return removed

    def _held(self, sop_uid: str) -> list[str]:
        """Return Orthanc's ids of an instance: one for each patient under whom it lies."""
        found = self._ask("POST", "/tools/lookup", content=sop_uid)
        ids = [one.get("ID") for one in found or [] if isinstance(one, dict) and one.get("Type") == "Instance"]
        return [one for one in ids if isinstance(one, str) and _ORTHANC_ID.fullmatch(one)]

    def _is_as_sent(self, orthanc_id: str, sent: Dataset) -> bool:
        held = self._ask("GET", f"/instances/{orthanc_id}/simplified-tags")
        if not isinstance(held, dict):
            return False  # it went in the meantime
        return all(_even(held.get(name)) == _even(sent.get(name)) for name in _WHO)

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        """Return the answer's JSON; None where there is no such thing (any more)."""
        try:
            response = self._http.request(method, path, **given)
            if response.status_code == 404:
                return None
            if response.status_code != 200:
                raise NotDeliveredError(f"peer_failed:http_{response.status_code}")
            return read_json(response.content)
        except httpx.HTTPError as error:
            raise NotDeliveredError(f"peer_away:{type(error).__name__}") from error
        except ValueError as error:
            raise NotDeliveredError("peer_failed:no_json") from error


def _even(text: object) -> str:
    return "" if text is None else str(text).rstrip(" ^=\0")
