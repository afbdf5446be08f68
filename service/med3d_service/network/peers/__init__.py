"""The DICOM nodes that the service knows: configuration by name, never an address of a request."""

from med3d_service.network.peers.configuration import (
    ConfigurationError,
    DicomwebPeer,
    DimsePeer,
    OrthancHooks,
    Peers,
    Tls,
    load_peers,
)

__all__ = ["ConfigurationError", "DicomwebPeer", "DimsePeer", "OrthancHooks", "Peers", "Tls", "load_peers"]
