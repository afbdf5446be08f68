"""The courier's process: one working copy after the other."""

import structlog

from med3d_service.logs import configure_logging
from med3d_service.processes.composition import Essentials
from med3d_service.runs.queueing.dispatch import CeleryBroker
from med3d_service.settings import Settings
from med3d_service.stopping import StopSignal
from med3d_service.studies.working_copy.courier import Courier, sandbox_of
from med3d_service.trust.audit.life import audited_life

log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Copy studies until SIGTERM or SIGINT."""
    configure_logging()
    stop = StopSignal(settings.alive_file)
    parts = Essentials.open(settings)
    broker = CeleryBroker(settings.broker_url.get_secret_value())
    courier = Courier(
        settings,
        parts.keys,
        parts.database,
        parts.store,
        parts.vault,
        parts.trail,
        broker,
        sandbox_of(settings),
    )
    courier.sandbox.prepare()
    log.info("courier_started")
    with audited_life(parts.trail, "courier"):
        while not stop.is_set:
            try:
                worked = courier.copy_next()
            except Exception:  # the edge: what failed is tried again
                log.exception("copying_failed")
                worked = False
            if not worked:
                stop.wait(settings.courier_poll_s)
    courier.sandbox.close()
    broker.close()
    parts.close()
    log.info("courier_stopped")
