"""Associations with peers as an SCU, as the peers' file has them: titles, TLS, and no silence that is not bounded."""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.studies.own_objects import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION

CONNECT_S = 10.0
Handler = tuple[evt.EventType, Callable[[evt.Event], object]]

# It writes the peers' own words and, at DEBUG, data sets.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


@contextmanager
def associated(
    peer: DimsePeer,
    contexts: list[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[Handler] = (),
) -> Iterator[Association]:
    """Ask the peer for an association; ``is_established`` and ``is_rejected`` say. At the end it is released.

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
    try:
        association = entity.associate(
            peer.host,
            peer.port,
            contexts=contexts,
            ae_title=peer.ae_title,
            ext_neg=list(roles),
            evt_handlers=[_bounded_by(peer.timeout_s, opened), _noting(rejections), *handlers],
            tls_args=None if peer.tls is None else (peer.tls.context(), peer.host),
        )
    except socket.gaierror:  # nobody has this name now: a peer that does not answer, as one whose address is silent
        association = Association(entity, "requestor")
    association.is_rejected = bool(rejections)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        for connection in opened:
            connection.close()


def _bounded_by(timeout_s: float, opened: list[socket.socket]) -> Handler:
    """Let no read or write wait longer in the middle of a PDU either: the library's timeouts count between messages.

    It takes a socket's timeout for the end of the connection, which ends the association. The socket joins ``opened``.
    """

    def note(event: evt.Event) -> None:
        connection = event.assoc.dul.socket
        if connection is not None and connection.socket is not None:
            connection.socket.settimeout(timeout_s)
            opened.append(connection.socket)

    return (evt.EVT_CONN_OPEN, note)


def _noting(rejections: list[A_ASSOCIATE_RJ]) -> Handler:
    def note(event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append(event.pdu)

    return (evt.EVT_PDU_RECV, note)
