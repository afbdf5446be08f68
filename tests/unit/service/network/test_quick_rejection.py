"""A peer that rejects at once is one that rejects us, not one that is away: the remedy is another one."""

import socket
import threading

from pynetdicom import build_context, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from med3d_service.network.listener import pdus
from med3d_service.network.peers.association import associated
from med3d_service.network.peers.configuration import DimsePeer


def test_a_rejection_is_told_from_an_abort_however_quick_it_is():
    """The library's thread is held until the rejection has closed the connection, which it then finds closed."""
    closed = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = DimsePeer(host="127.0.0.1", port=server.getsockname()[1], ae_title="PACS")
        thread = threading.Thread(target=_reject_one, args=(server,))
        thread.start()
        late = (evt.EVT_REQUESTED, lambda _: closed.wait(10))
        done = (evt.EVT_CONN_CLOSE, lambda _: closed.set())
        with associated(peer, [build_context(Verification)], handlers=[late, done]) as association:
            assert (association.is_established, association.is_rejected) == (False, True)
        thread.join()


def _reject_one(server):
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(pdus.reject(1, 1, 7))
        connection.recv(1)  # the peer closes
