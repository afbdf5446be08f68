"""Trying each configured peer, for whoever has set it up: whether it answers, lets us in and does what we need."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import httpx
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from med3d_contract.json_files import read_json
from med3d_service.network.peers.asking import PeerError
from med3d_service.network.peers.association import Attempt, associated
from med3d_service.network.peers.configuration import DicomwebPeer, DimsePeer, Peers
from med3d_service.network.peers.dicomweb import DicomwebSource
from med3d_service.network.peers.dimse import PENDING, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, SUCCESS
from med3d_service.network.peers.reaching import Deadline, bounded, code_of, is_page

NOBODY = "2.25.0"
"""A study that nobody has: asked for, it is not found, and that is an answer."""
PATIENCES = 4
"""So many times its ``timeout_s`` an association with a peer, or a request by HTTP, may take in all."""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried with one peer; ``said`` tells what to know or to do, empty where it simply works."""

    peer: str
    what: str
    said: str = ""
    is_fault: bool = True
    """Of what is said; else it is a limit of the peer's, which may not matter."""
    code: str = ""
    """Of what is said, the same in every release; empty where it simply works."""


_CERTIFICATE = "that is not trusted: see its authority (tls.ca_file), how long it is valid, and that it names the host"
_DIMSE_FAULTS: Mapping[str, str] = {
    "peer_unreachable": "does not answer {tls}at {host}, port {port}: see address, port, firewall and certificates",
    "peer_untrusted": f"shows a certificate {_CERTIFICATE}",
    "peer_tls": "does not agree on TLS: see whether port {port} takes it, and the certificates on both sides",
    "peer_silent": "takes the connection and does not answer within {timeout_s:g} s: see whether port {port} is that "
    "of a DICOM node, whether it wants {other}, and whether it hangs",
    "peer_hangs_up": "takes the connection and ends it without an answer: see whether port {port} is a DICOM node's, "
    "whether it wants {other} or another certificate of ours, and its log",
    "peer_denied": "refuses the association: it must know {calling} with our address, and itself be called {called}",
    "peer_busy": "refuses the association for now: it has as many as it takes; see its limit, and try again",
    "nothing_offered": "lets us in and offers nothing of what was asked: no C-ECHO, no query, no retrieve; see what it "
    "allows {calling}",
}
_DICOMWEB_FAULTS: Mapping[str, str] = {
    "peer_unreachable": "does not answer: see address, port, firewall and certificates",
    "peer_untrusted": f"shows a certificate {_CERTIFICATE} of url",
    "peer_tls": "does not agree on TLS: see whether its port takes https, and the certificates on both sides",
    "peer_denied": "answers, and does not let us in: see user and password, or the token",
    "peer_redirects": "sends us elsewhere, which is not followed: see the address, and where it is a login, user and "
    "password or the token",
    "answer_is_a_page": "answers with a web page: see the address, below which /studies must lie, and where it is a "
    "login, user and password or the token",
    "peer_rejects": "answers, and does not take a search (QIDO-RS): see the address, below which /studies must lie",
    "peer_failed": "answers, and fails at a search (QIDO-RS): see its log",
    "answer_damaged": "answers with something else than DICOM JSON: see the address, below which /studies must lie",
}
_IGNORED = (
    "answers the search for one study, which nobody has, with others: it ignores what is asked for; do not pull from it"
)


def check_peers(peers: Peers, only: str | None = None, committing: Sequence[str] = ()) -> Iterator[Finding]:
    """Try every configured peer, or those named ``only``. committing: the DIMSE peers that are asked for commitment."""
    for name, dimse in peers.dimse.items():
        if only in {None, name}:
            yield from _check_dimse(f"dimse:{name}", dimse, commitment=name in committing)
    for name, web in peers.dicomweb.items():
        if only in {None, name}:
            yield from _check_dicomweb(f"dicomweb:{name}", web)


def echo(name: str, peer: DimsePeer) -> Finding:
    """Take C-ECHO alone."""
    attempt, patience_s = Attempt(), PATIENCES * peer.timeout_s
    with associated(peer, [build_context(Verification)], attempt=attempt, at_most_s=patience_s) as association:
        if attempt.code:
            return _not_associated(name, "C-ECHO", peer, attempt.code)
        return _echoed(name, peer, association)


def _check_dimse(name: str, peer: DimsePeer, *, commitment: bool) -> Iterator[Finding]:
    retrieve, word = (STUDY_ROOT_MOVE, "C-MOVE") if peer.retrieve == "c-move" else (STUDY_ROOT_GET, "C-GET")
    wanted = [Verification, STUDY_ROOT_FIND, retrieve, *([StorageCommitmentPushModel] if commitment else [])]
    attempt, patience_s = Attempt(), PATIENCES * peer.timeout_s
    contexts = [build_context(one) for one in wanted]
    with associated(peer, contexts, attempt=attempt, at_most_s=patience_s) as association:
        if attempt.code:
            yield _not_associated(name, "association", peer, attempt.code)
            return
        yield Finding(name, "association")
        yield (echoed := _echoed(name, peer, association))
        if echoed.code not in {"no_answer", "broke_off"}:
            yield _found(name, peer, association)
        lacking = f"{word}: it can be delivered to, and studies cannot be pulled from it by DIMSE"
        yield _lacking(name, word, association, retrieve, lacking, is_fault=False) or Finding(name, word)
        if commitment:
            lacking = "storage commitment: take `commitment` out of its delivery"
            what = "storage commitment"
            yield _lacking(name, what, association, StorageCommitmentPushModel, lacking) or Finding(name, what)


def _not_associated(name: str, what: str, peer: DimsePeer, code: str) -> Finding:
    said = _DIMSE_FAULTS[code].format(
        tls="by TLS " if peer.tls is not None else "",
        other="a connection without TLS" if peer.tls is not None else "TLS (tls in its table)",
        host=peer.host,
        port=peer.port,
        timeout_s=peer.timeout_s,
        calling=peer.calling_ae_title,
        called=peer.ae_title,
    )
    return Finding(name, what, said, code=code)


def _echoed(name: str, peer: DimsePeer, association: Association) -> Finding:
    what = "C-ECHO"
    if lacking := _lacking(name, what, association, Verification, what):
        return lacking
    asked = _Asked(what, peer.timeout_s, lambda: iter([association.send_c_echo()]))
    if asked.code:
        return Finding(name, what, asked.said, code=asked.code)
    if asked.status != SUCCESS:
        return Finding(name, what, f"answers the C-ECHO with 0x{asked.status:04X}: see its log", code="echo_failed")
    return Finding(name, what)


def _found(name: str, peer: DimsePeer, association: Association) -> Finding:
    what = "C-FIND"
    lacking = f"{what}: it can be delivered to, but not searched"
    if limit := _lacking(name, what, association, STUDY_ROOT_FIND, lacking, is_fault=False):
        return limit
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", NOBODY
    answers = (status for status, _ in association.send_c_find(wanted, STUDY_ROOT_FIND))
    asked = _Asked(what, peer.timeout_s, lambda: answers)
    if asked.code:
        return Finding(name, what, asked.said, code=asked.code)
    if asked.status in PENDING:
        association.abort()  # what else it has to say is of no use
        return Finding(name, what, _IGNORED, code="search_ignored")
    if asked.status != SUCCESS:
        said = f"refuses the search (0x{asked.status:04X}): our AE title may not be allowed to query there; see its log"
        return Finding(name, what, said, code="search_refused")
    return Finding(name, what)


class _Asked:
    """The first answer to a request: its status, or a code and a sentence where none came."""

    def __init__(self, what: str, timeout_s: float, ask: Callable[[], Iterator[Dataset]]) -> None:
        began = time.monotonic()
        try:
            status = next(ask()).get("Status")
        except (RuntimeError, ValueError, StopIteration):  # the library's, of an association that ended in the middle
            status = None
        self.status, self.code, self.said = -1 if status is None else int(status), "", ""
        if status is None and time.monotonic() - began >= timeout_s:
            self.code = "no_answer"
            self.said = f"takes the {what} and does not answer within {timeout_s:g} s: see its load and its log"
        elif status is None:
            self.code = "broke_off"
            self.said = f"ends the association in the middle of the {what}: see its log"


def _lacking(
    name: str, what: str, association: Association, sop_class_uid: str, lacking: str, *, is_fault: bool = True
) -> Finding | None:
    if any(one.abstract_syntax == sop_class_uid for one in association.accepted_contexts):
        return None
    return Finding(name, what, f"answers, and does not offer {lacking}", is_fault, "not_offered")


def _check_dicomweb(name: str, peer: DicomwebPeer) -> Iterator[Finding]:
    what, code, deadline = "QIDO-RS", "", Deadline()
    with closing(DicomwebSource(peer, deadline=deadline)) as source, deadline.after(PATIENCES * peer.timeout_s):
        try:
            source.find_studies({"StudyInstanceUID": NOBODY})
        except PeerError as error:
            code = error.code
    if code in {"search_ignored", "query_too_wide"}:
        yield Finding(name, what, _IGNORED, code="search_ignored")
    elif code:
        # An address without DICOMweb is not found, and a search without finds is found to be empty.
        code = code if code in _DICOMWEB_FAULTS else "peer_rejects"
        yield Finding(name, what, _DICOMWEB_FAULTS[code], code=code)
    else:
        yield Finding(name, what)
    if peer.orthanc is not None:
        code = _changes_code(peer, peer.orthanc.base_url)
        yield Finding(name, "Orthanc's log of changes", _CHANGES_FAULTS.get(code, ""), code=code)


_CHANGES_FAULTS: Mapping[str, str] = {
    "peer_unreachable": "does not answer at rest_url: see address, port, firewall and certificates",
    "peer_untrusted": f"shows a certificate {_CERTIFICATE} of rest_url",
    "peer_tls": "does not agree on TLS at rest_url: see whether it takes https, and the certificates of both sides",
    "peer_denied": "does not let us read it: see user and password",
    "peer_rejects": "is not at rest_url, where something else answers: see the address",
    "peer_failed": "fails at rest_url: see its log",
}


def _changes_code(peer: DicomwebPeer, base_url: str) -> str:
    """Try to read the log of changes; a key of _CHANGES_FAULTS, empty where it can be read."""
    deadline = Deadline()
    try:
        with (
            httpx.Client(
                auth=peer.basic_auth,
                headers=peer.headers,
                verify=peer.verify,
                timeout=peer.timeout_s,
                trust_env=False,
            ) as http,
            deadline.after(PATIENCES * peer.timeout_s),
        ):
            request = http.build_request("GET", f"{base_url}/changes?last", extensions=bounded(deadline))
            answer = http.send(request)
    except httpx.HTTPError as error:
        return code_of(error)
    if answer.status_code in {401, 403}:
        return "peer_denied"
    if answer.status_code >= 500:
        return "peer_failed"
    if answer.status_code != 200 or is_page(answer.headers):
        return "peer_rejects"
    try:
        return "" if "Last" in read_json(answer.content) else "peer_rejects"
    except (TypeError, ValueError):
        return "peer_rejects"
