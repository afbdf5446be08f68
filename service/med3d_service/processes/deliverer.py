"""The deliverer: one thread for each destination, so that one that hangs does not keep the others waiting."""

import threading

import structlog

from med3d_service.logs import configure_logging
from med3d_service.processes.composition import Essentials
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.deliverer import DestinationLoop
from med3d_service.results.delivery.destinations import Destination, load_destinations, load_digests
from med3d_service.results.delivery.digest import Digests
from med3d_service.results.delivery.outbox import Patience
from med3d_service.results.delivery.recalling import OrthancRecall
from med3d_service.results.explanations import ExplanationDesk
from med3d_service.results.reports.library import ReportLibrary
from med3d_service.runs.queueing.dispatch import CeleryBroker
from med3d_service.settings import Settings
from med3d_service.stopping import StopSignal
from med3d_service.storage.database import Database
from med3d_service.trust.audit.life import audited_life

log = structlog.get_logger()
STOP_S = 4.0


def run(settings: Settings) -> None:
    """Plan and deliver until SIGTERM or SIGINT."""
    configure_logging()
    stop = StopSignal(settings.alive_file)
    parts = Essentials.open(settings)
    destinations = load_destinations(settings)
    desk = ExplanationDesk(parts, CeleryBroker(settings.broker_url.get_secret_value()))
    digests = Digests(parts.database, parts.trail, load_digests(settings))
    stopped = threading.Event()
    library = ReportLibrary(parts, desk.explained)
    threads = [
        threading.Thread(
            target=DestinationLoop(
                settings,
                parts.database,
                parts.trail,
                destination,
                library.content,
                recall=_recall_from(destination, library),
            ).run,
            args=(stopped,),
            name=destination.name,
            daemon=True,  # a peer that hangs must not keep us: what is in hand is sent again
        )
        for destination in destinations
    ]
    for thread in threads:
        thread.start()
    log.info("deliverer_started", destinations=[destination.name for destination in destinations])
    with audited_life(parts.trail, "deliverer"):
        while not stop.wait(settings.deliverer_poll_s):
            _plan(parts.database, destinations, Patience.of(settings))
            _tell(digests)
    stopped.set()
    for thread in threads:
        thread.join(STOP_S / len(threads))
    log.info("deliverer_stopped")


def _recall_from(destination: Destination, library: ReportLibrary) -> OrthancRecall | None:
    if destination.orthanc is None or not destination.takes_back:
        return None
    return OrthancRecall(destination.orthanc, library.made_objects)


def _plan(database: Database, destinations: tuple[Destination, ...], patience: Patience) -> None:
    try:
        with database.read() as session:
            if not outbox.has_answers(session):
                return
        with database.write() as session:
            outbox.plan(session, destinations, patience)
    except Exception:  # the edge: a database that is away comes back
        log.exception("planning_failed")


def _tell(digests: Digests) -> None:
    try:
        digests.send_due()
    except Exception:  # the edge: as above
        log.exception("digests_failed")
