"""Opening a configured peer, whichever protocol it speaks."""

from med3d_service.network.peers.asking import PeerError, PeerSource
from med3d_service.network.peers.configuration import Peers
from med3d_service.network.peers.dicomweb import DicomwebSource
from med3d_service.network.peers.dimse import DimseSource


def peer_source(peers: Peers, source: str, name: str) -> PeerSource:
    """Open a configured peer by protocol and name. Raises PeerError("unknown_peer")."""
    if source == "dicomweb" and name in peers.dicomweb:
        return DicomwebSource(peers.dicomweb[name])
    if source == "dimse" and name in peers.dimse:
        return DimseSource(peers.dimse[name])
    raise PeerError("unknown_peer")
