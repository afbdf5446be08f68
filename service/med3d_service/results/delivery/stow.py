"""STOW-RS (PS3.18 10.5) to a configured peer: one object per request."""

import uuid
from typing import Any

import httpx

from med3d_contract.json_files import read_json
from med3d_service.network.peers.configuration import DicomwebPeer
from med3d_service.network.peers.reaching import is_page
from med3d_service.results.delivery.http_judging import judge
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing, RefusedByPeerError

_PASSING = frozenset({401, 403, 404, 408, 423, 425, 429})
FAILED_SOP_SEQUENCE, FAILURE_REASON = "00081198", "00081197"
DUPLICATE = 0x0111  # PS3.18: the peer has an instance of this UID


class StowSender:
    """Stores objects through a peer's DICOMweb."""

    def __init__(self, peer: DicomwebPeer) -> None:
        self._url = f"{peer.base_url}/studies"
        self._http = httpx.Client(
            timeout=peer.timeout_s,
            verify=peer.verify,
            auth=peer.basic_auth,
            headers={"Accept": "application/dicom+json", **peer.headers},
            follow_redirects=False,
            trust_env=False,
        )

    def send(self, outgoing: Outgoing) -> None:
        """Store the object; the peer has it when it says so, or that it has had it."""
        boundary = uuid.uuid4().hex
        body = b"".join(
            [
                f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(),
                outgoing.content,
                f"\r\n--{boundary}--\r\n".encode(),
            ]
        )
        content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        try:
            response = self._http.post(self._url, content=body, headers={"Content-Type": content_type})
        except httpx.TransportError as error:
            raise NotDeliveredError(f"peer_away:{type(error).__name__}") from error
        self._judge(response)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @staticmethod
    def _judge(response: httpx.Response) -> None:
        if is_page(response.headers):  # a door where a person logs in says 200, and keeps nothing
            raise NotDeliveredError("peer_failed:answer_is_a_page")
        if (reasons := _failures(response)) and reasons != {DUPLICATE}:
            reason = min(reasons - {DUPLICATE})
            code = f"0x{reason:04X}"
            if 0xA700 <= reason < 0xA800 or reason == 0x0110:  # out of resources, processing failure
                raise NotDeliveredError(f"peer_failed:{code}")
            raise RefusedByPeerError(f"refused:{code}")
        if reasons != {DUPLICATE}:
            judge(response.status_code, response.headers, passing=_PASSING)


def _failures(response: httpx.Response) -> set[int]:
    """Failure reasons of the instances that were not stored, from the answer's DICOM JSON, as far as it is one."""
    try:
        answer: Any = read_json(response.content)
    except ValueError:
        return set()
    if isinstance(answer, list):
        answer = answer[0] if answer else {}
    try:
        return {int(item[FAILURE_REASON]["Value"][0]) for item in answer.get(FAILED_SOP_SEQUENCE, {}).get("Value", [])}
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return set()
