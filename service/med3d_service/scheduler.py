"""The sweep: what a crash, a wiped queue or a lost worker left is put right from the database and the store."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import TERMINAL
from med3d_contract.work import StoredOutcomes
from med3d_service.audit.forwarding import keep_forwarding
from med3d_service.cohorts.nights import tend_cohorts
from med3d_service.composition import Service
from med3d_service.database import db_now
from med3d_service.dispatch import send_waiting
from med3d_service.erasure import finish_erasures
from med3d_service.intake.clock import StabilityClock
from med3d_service.ledger import Ledger
from med3d_service.leftovers import Leftovers
from med3d_service.logs import configure_logging
from med3d_service.retention import Retention, finish_removals
from med3d_service.runs.stranded import note_stranded
from med3d_service.runs.transitions import lose_expired, store_all_outcomes
from med3d_service.settings import Settings
from med3d_service.stopping import StopSignal
from med3d_service.tables import BeatRow, RunRow
from med3d_store.object_store import ObjectInfo, StoreError

log = structlog.get_logger()

ADOPT_AFTER_S = 5.0
"""A stored outcome is left so long to the worker that publishes it."""
LEFTOVERS_EVERY_S = 900.0
"""Every original in the store is looked at: with a hundred thousand of them that takes some seconds."""


def run(settings: Settings) -> None:
    """Sweep until SIGTERM or SIGINT."""
    configure_logging()
    stop = StopSignal()
    service = Service.compose(settings)
    clock = StabilityClock(settings, service.database, service.broker, service.audit)
    ledger = Ledger(settings, service.database, service.store)
    retention = Retention(service)
    leftovers = Leftovers(service)
    last_leftovers = float("-inf")
    stopped = threading.Event()
    if settings.audit_syslog_url is not None:
        forwarding = (service.database, settings, stopped)
        threading.Thread(target=keep_forwarding, args=forwarding, name="audit", daemon=True).start()
    log.info("scheduler_started")
    while not stop.wait(settings.sweep_s):
        _tried("outcomes", adopt_outcomes, service)
        _tried("leases", end_leases, service)
        for name, step in (
            ("settling", clock.settle_due),
            ("waits", clock.end_waits),
            ("appraisals", clock.ask_for_appraisals),
            ("late_instances", clock.conclude_late),
            ("ledger", ledger.check_if_due),
            ("retention", retention.sweep_if_due),
        ):
            _tried(name, step)
        _tried("cohorts", tend, service)
        _tried("dispatch", dispatch, service)
        _tried("stranded", tell_stranded, service)
        _tried("erasures", finish_erasures, service)
        _tried("removals", finish_removals, service)
        if time.monotonic() - last_leftovers >= LEFTOVERS_EVERY_S:
            last_leftovers = time.monotonic()
            _tried("leftovers", leftovers.remove)
    stopped.set()
    service.close()
    log.info("scheduler_stopped")


def _tried(name: str, step: Callable[..., object], *arguments: Service) -> None:
    try:
        step(*arguments)
    except Exception:  # the edge: one step's trouble must not stop the others
        log.exception("sweep_failed", step=name)


def tend(service: Service) -> int:
    """Let cohorts begin, rest and go on by the clock, and feed those under way."""
    return tend_cohorts(service.database, service.settings.cohort_ahead)


def dispatch(service: Service) -> int:
    """Send what waits and is in no queue."""
    return send_waiting(service.database, service.broker, redispatch_s=service.settings.redispatch_s)


def tell_stranded(service: Service) -> int:
    """Let runs whose bundle no live worker carries say so."""
    with service.database.write() as session:
        found = note_stranded(session, service.settings.worker_silent_s)
    if found:
        log.warning("no_worker_carries_the_bundle", runs=found)
    return found


def end_leases(service: Service) -> list[str]:
    """Return runs of silent workers to wait, unless it was the API that was silent."""
    with service.database.write() as session:
        beat = session.get(BeatRow, "api")
        now = session.execute(select(db_now())).scalar_one()
        # Workers renew well before half a lease is over, so none ends before the API's absence is noticed.
        if beat is None or now - beat.beat_at > service.leases.lease_s / 2:
            return []
        lost = lose_expired(session, service.leases)
    for run_id in lost:
        log.warning("lease_ended", run_id=run_id)
    return lost


def adopt_outcomes(service: Service) -> int:
    """Take outcomes from the store whose message was lost, and remove those that are settled; how many were taken."""
    adopted = 0
    for stored in _older(service.store.list("results"), ADOPT_AFTER_S):
        with contextlib.suppress(StoreError):  # gone meanwhile
            adopted += _adopt(service, stored.key)
    return adopted


def _adopt(service: Service, key: str) -> int:
    try:
        stored = StoredOutcomes.model_validate_json(service.store.get(key)).outcomes
    except ValidationError:
        log.warning("stored_outcome_unreadable", key=key)
        service.store.delete(key)  # the leases run out, and the stages are done again
        return 0
    with service.database.write() as session:
        unsettled = _unsettled(session, [one.run_id for one in stored])
        ended = {one.run_id: one.outcome for one in stored if one.run_id in unsettled}
        adopted = ended.keys() - store_all_outcomes(session, ended, service.leases)
    for run_id in adopted:
        log.info("outcome_adopted", run_id=run_id, attempt=ended[run_id].attempt)
    service.store.delete(key)
    return len(adopted)


def _unsettled(session: Session, run_ids: list[str]) -> set[str]:
    return set(session.scalars(select(RunRow.id).where(RunRow.id.in_(run_ids), RunRow.status.not_in(TERMINAL))))


def _older(objects: Iterator[ObjectInfo], age_s: float) -> Iterator[ObjectInfo]:
    before = datetime.now(UTC) - timedelta(seconds=age_s)
    return (stored for stored in objects if stored.modified_at < before)
