"""Trying each configured peer, for whoever has set it up: whether it answers, lets us in and does what we need."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from med3d_service.network.peers.asking import PeerError
from med3d_service.network.peers.association import associated
from med3d_service.network.peers.configuration import DicomwebPeer, DimsePeer, Peers
from med3d_service.network.peers.dicomweb import DicomwebSource
from med3d_service.network.peers.dimse import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE

NOBODY = "2.25.0"
"""A study that nobody has: asked for, it is not found, and that is an answer."""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried with one peer; ``said`` tells what to know or to do, empty where it simply works."""

    peer: str
    what: str
    said: str = ""
    is_fault: bool = True
    """Of what is said; else it is a limit of the peer's, which may not matter."""


def check_peers(peers: Peers, only: str | None = None, committing: Sequence[str] = ()) -> Iterator[Finding]:
    """Try every configured peer, or those named ``only``. committing: the DIMSE peers that are asked for commitment."""
    for name, dimse in peers.dimse.items():
        if only in {None, name}:
            yield from _check_dimse(f"dimse:{name}", dimse, commitment=name in committing)
    for name, web in peers.dicomweb.items():
        if only in {None, name}:
            yield from _check_dicomweb(f"dicomweb:{name}", web)


def echo(name: str, peer: DimsePeer) -> Finding:
    """C-ECHO alone."""
    with associated(peer, [build_context(Verification)]) as association:
        return Finding(name, "C-ECHO", _fault_of(peer, association) or _echoed(association))


def _check_dimse(name: str, peer: DimsePeer, *, commitment: bool) -> Iterator[Finding]:
    retrieve, word = (STUDY_ROOT_MOVE, "C-MOVE") if peer.retrieve == "c-move" else (STUDY_ROOT_GET, "C-GET")
    wanted = [Verification, STUDY_ROOT_FIND, retrieve, *([StorageCommitmentPushModel] if commitment else [])]
    with associated(peer, [build_context(one) for one in wanted]) as association:
        fault = _fault_of(peer, association)
        if fault:
            yield Finding(name, "association", fault)
            return
        yield Finding(name, "association")
        yield Finding(name, "C-ECHO", _echoed(association))
        may_search = not _offered(association, STUDY_ROOT_FIND, "")
        yield Finding(name, "C-FIND", _found(association), is_fault=may_search)
        lacking = f"{word}: it can be delivered to, and studies cannot be pulled from it by DIMSE"
        yield Finding(name, word, _offered(association, retrieve, lacking), is_fault=False)
        if commitment:
            lacking = "storage commitment: take `commitment` out of its delivery"
            yield Finding(name, "storage commitment", _offered(association, StorageCommitmentPushModel, lacking))


def _fault_of(peer: DimsePeer, association: Association) -> str:
    if association.is_established:
        return ""
    if association.is_rejected:
        return (
            f"refuses the association: it must know {peer.calling_ae_title} with our address, and itself be called "
            f"{peer.ae_title}"
        )
    if association.rejected_contexts:
        return "lets us in and offers nothing of what was asked: no C-ECHO, no query, no retrieve"
    how = "by TLS " if peer.tls is not None else ""
    return f"does not answer {how}at {peer.host}, port {peer.port}: see address, port, firewall and certificates"


def _echoed(association: Association) -> str:
    lacking = _offered(association, Verification, "C-ECHO")
    if lacking:
        return lacking
    return "" if _status(association.send_c_echo) == 0 else "takes the C-ECHO and does not answer it with success"


def _found(association: Association) -> str:
    lacking = _offered(association, STUDY_ROOT_FIND, "C-FIND: it can be delivered to, but not searched")
    if lacking:
        return lacking
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", NOBODY
    if _status(lambda: list(association.send_c_find(asked, STUDY_ROOT_FIND))[-1][0]) == 0:
        return ""
    return "refuses the search: our AE title may not be allowed to query there"


def _status(ask: Callable[[], Dataset]) -> int | None:
    """The status of the last answer; None where the peer gave none or hung up."""
    try:
        status = ask().get("Status")
    except (RuntimeError, ValueError, IndexError):  # the library's, of an association that ended in the middle
        return None
    return None if status is None else int(status)


def _offered(association: Association, sop_class_uid: str, lacking: str) -> str:
    offered = any(one.abstract_syntax == sop_class_uid for one in association.accepted_contexts)
    return "" if offered else f"answers, and does not offer {lacking}"


_DICOMWEB_FAULTS = {
    "peer_unreachable": "does not answer: see address, port, firewall and certificates",
    "peer_denied": "answers, and does not let us in: see user and password, or the token",
    "peer_rejects": "answers, and does not take a search (QIDO-RS): see the address, below which /studies must lie",
    "peer_failed": "answers, and fails at a search (QIDO-RS): see its log",
    "answer_damaged": "answers with something else than DICOM JSON: see the address, below which /studies must lie",
}


def _check_dicomweb(name: str, peer: DicomwebPeer) -> Iterator[Finding]:
    source = DicomwebSource(peer)
    try:
        source.find_studies({"StudyInstanceUID": NOBODY})
        yield Finding(name, "QIDO-RS")
    except PeerError as error:
        # An address without DICOMweb is not found, and a search without finds is found to be empty.
        fault = _DICOMWEB_FAULTS.get(error.code, _DICOMWEB_FAULTS["peer_rejects"])
        yield Finding(name, "QIDO-RS", fault)
    finally:
        source.close()
    if peer.orthanc is not None:
        yield Finding(name, "Orthanc's log of changes", _changes_fault(peer, peer.orthanc.base_url))


def _changes_fault(peer: DicomwebPeer, base_url: str) -> str:
    try:
        answer = httpx.get(
            f"{base_url}/changes",
            params={"last": ""},
            auth=peer.basic_auth,
            headers=peer.headers,
            verify=peer.verify,
            timeout=peer.timeout_s,
        )
    except httpx.HTTPError:
        return "does not answer at rest_url: see address, port, firewall and certificates"
    if answer.status_code in {401, 403}:
        return "does not let us read it: see user and password"
    return "" if answer.status_code == 200 else f"is not at rest_url (HTTP {answer.status_code})"
