"""The process that takes corrections of patients by HL7 v2 ADT messages; there is none where no port is set."""

from collections.abc import Sequence

import structlog

from med3d_service.logs import configure_logging
from med3d_service.network.hl7.server import Apply, Hl7Server
from med3d_service.processes.composition import Essentials
from med3d_service.settings import Settings
from med3d_service.stopping import StopSignal
from med3d_service.studies.patient_corrections import PatientUpdate
from med3d_service.studies.patient_updates import Corrector
from med3d_service.trust.audit import Actor
from med3d_service.trust.audit.life import audited_life

log = structlog.get_logger()
ACCEPT_S = 0.2


def run(settings: Settings) -> None:
    """Take messages until SIGTERM or SIGINT. Raises ListenerError, OSError where the port is taken."""
    configure_logging()
    stop = StopSignal(settings.alive_file)
    parts = Essentials.open(settings)
    server = Hl7Server(settings, corrector(parts))
    log.info("hl7_started", port=server.port, tls=settings.hl7_tls_cert is not None)
    with audited_life(parts.trail, "hl7"):
        while not stop.is_set:
            server.accept(ACCEPT_S)
        server.close()
    parts.close()
    log.info("hl7_stopped")


def corrector(parts: Essentials) -> Apply:
    """Make what corrects the studies that a message means, in one transaction."""

    def apply(updates: Sequence[PatientUpdate], sender: str, address: str) -> int:
        with parts.database.write() as session:
            actor = Actor("peer", sender, address=address)
            settings = parts.settings
            correctors = (
                Corrector(
                    session,
                    parts.vault,
                    parts.trail,
                    site,
                    settings.hl7_authority,
                    actor,
                    keeps_merges=settings.hl7_merges_days > 0,
                )
                for site in settings.hl7_sites or (settings.site,)
            )
            return sum(one.apply(updates) for one in correctors)

    return apply
