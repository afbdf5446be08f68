"""Associations with peers as an SCU, as the peers' file has them: titles, TLS, and no silence that is not bounded."""

import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.network.peers.reaching import Deadline, code_of, noting_tls
from med3d_service.studies.own_objects import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION

CONNECT_S = 10.0
BUSY = {(2, 1), (2, 2), (3, 1), (3, 2)}
"""Sources and reasons of a rejection that passes (PS3.8 9.3.4)."""
_TRANSIENT = 2
Handler = tuple[evt.EventType, Callable[[evt.Event], object]]

# It writes the peers' own words and, at DEBUG, data sets.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


@dataclass
class Attempt:
    """Why there is no association: a code, empty where there is one."""

    code: str = ""


@contextmanager
def associated(
    peer: DimsePeer,
    contexts: list[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[Handler] = (),
    attempt: Attempt | None = None,
    at_most_s: float | None = None,
) -> Iterator[Association]:
    """Ask the peer for an association; ``is_established`` and ``is_rejected`` say. At the end it is released.

    ``attempt`` is told why there is none. at_most_s: after which it is cut, however busy the peer is.

    The library calls a rejection an abort where the peer was quick: it may look whether the connection was made only
    after the rejection has closed it. So a rejection is noted as it is received. The library also shuts a socket down
    before it closes it, which fails where the peer has already gone (as it has when it
    refuses our certificate after our side of the TLS 1.3 handshake), and then leaves it open: so it is closed here.
    """
    entity = AE(ae_title=peer.calling_ae_title)
    entity.implementation_class_uid = UID(IMPLEMENTATION_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    entity.maximum_pdu_size = 0
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = peer.timeout_s
    entity.connection_timeout = min(CONNECT_S, peer.timeout_s)
    opened: list[socket.socket] = []
    rejections: list[A_ASSOCIATE_RJ] = []
    tls_errors: list[ssl.SSLError] = []
    deadline, began = Deadline(), time.monotonic()
    with deadline.after(at_most_s):
        try:
            association = entity.associate(
                peer.host,
                peer.port,
                contexts=contexts,
                ae_title=peer.ae_title,
                ext_neg=list(roles),
                evt_handlers=[_bounded_by(peer.timeout_s, opened, deadline), _noting(rejections), *handlers],
                tls_args=None if peer.tls is None else (noting_tls(peer.tls.context(), tls_errors.append), peer.host),
            )
        except socket.gaierror:  # nobody has this name now: a peer that does not answer, as one whose address is silent
            association = Association(entity, "requestor")
        association.is_rejected = bool(rejections)
        if attempt is not None and not association.is_established:
            was_silent = time.monotonic() - began >= peer.timeout_s
            attempt.code = _why_not(association, rejections, tls_errors, connected=bool(opened), was_silent=was_silent)
        try:
            yield association
        finally:
            if association.is_established:
                association.release()
            for connection in opened:
                connection.close()


def _why_not(
    association: Association,
    rejections: list[A_ASSOCIATE_RJ],
    tls_errors: list[ssl.SSLError],
    *,
    connected: bool,
    was_silent: bool,
) -> str:
    if rejections:
        (first, *_) = rejections
        is_busy = first.result == _TRANSIENT or (first.source, first.reason_diagnostic) in BUSY
        return "peer_busy" if is_busy else "peer_denied"
    if tls_errors:
        return code_of(tls_errors[0])
    if association.rejected_contexts:
        return "nothing_offered"
    if not connected:
        return "peer_unreachable"
    return "peer_silent" if was_silent else "peer_hangs_up"


def _bounded_by(timeout_s: float, opened: list[socket.socket], deadline: Deadline) -> Handler:
    """Let no read or write wait longer in the middle of a PDU either: the library's timeouts count between messages.

    It takes a socket's timeout for the end of the connection, which ends the association. The socket joins ``opened``.
    """

    def note(event: evt.Event) -> None:
        connection = event.assoc.dul.socket
        if connection is not None and connection.socket is not None:
            connection.socket.settimeout(timeout_s)
            opened.append(connection.socket)
            deadline.bounds(connection.socket)

    return (evt.EVT_CONN_OPEN, note)


def _noting(rejections: list[A_ASSOCIATE_RJ]) -> Handler:
    def note(event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append(event.pdu)

    return (evt.EVT_PDU_RECV, note)
