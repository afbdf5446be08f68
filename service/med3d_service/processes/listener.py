"""The listener's process: DICOM instances by C-STORE, and the peers' reports on storage commitment."""

import structlog

from med3d_service.logs import configure_logging
from med3d_service.network.listener.counts import ListenerCounts
from med3d_service.network.listener.own_titles import load_own_titles
from med3d_service.network.listener.rejections import Rejections
from med3d_service.network.listener.server import Listener
from med3d_service.network.peers import load_peers
from med3d_service.processes.composition import Essentials
from med3d_service.results.delivery.commitment import Commitments
from med3d_service.results.delivery.destinations import load_destinations
from med3d_service.results.delivery.outbox import Patience
from med3d_service.settings import Settings
from med3d_service.stopping import StopSignal
from med3d_service.trust.audit.life import audited_life

log = structlog.get_logger()
ACCEPT_S = 0.2


def run(settings: Settings) -> None:
    """Listen until SIGTERM or SIGINT. Raises ListenerError, OSError where the port is taken."""
    configure_logging()
    stop = StopSignal(settings.alive_file)
    parts = Essentials.open(settings)
    titles = load_own_titles(settings)
    peers, arrivals = load_peers(settings.peers_file), parts.arrivals(titles.rules)
    reports = Commitments(parts.database, load_destinations(settings), Patience.of(settings))
    rejections, counts = Rejections(parts.trail), ListenerCounts(parts.database)
    listener = Listener(settings, peers, arrivals, reports, rejections, counts, titles)
    log.info("listener_started", port=listener.port, tls=settings.dicom_tls_cert is not None)
    with audited_life(parts.trail, "listener"):
        while not stop.is_set:
            listener.accept(ACCEPT_S)
        listener.close()
    arrivals.close()
    parts.close()
    log.info("listener_stopped")
