"""The sweep: what a crash, a wiped queue or a lost worker left is put right from the database and the store."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import TERMINAL
from med3d_contract.work import StoredOutcomes
from med3d_service.cohorts.corrected_members import follow_corrections
from med3d_service.cohorts.nights import tend_cohorts
from med3d_service.custody.erasure import finish_erasures
from med3d_service.custody.ledger import Ledger
from med3d_service.custody.leftovers import Leftovers
from med3d_service.custody.retention import Retention, finish_removals
from med3d_service.logs import configure_logging
from med3d_service.processes.composition import Essentials
from med3d_service.runs.endings import Leases
from med3d_service.runs.queueing.dispatch import CeleryBroker, send_waiting
from med3d_service.runs.queueing.silent_workers import LEASES_ENDED, SilentWorkers
from med3d_service.runs.queueing.stranded import note_stranded
from med3d_service.runs.transitions import lose_expired, store_all_outcomes
from med3d_service.settings import Settings
from med3d_service.stopping import StopSignal
from med3d_service.storage.counters import add_to_counters
from med3d_service.storage.database import Database, now_of
from med3d_service.storage.tables import BeatRow, RunRow
from med3d_service.studies.arrivals.clock import StabilityClock
from med3d_service.trust.audit.forwarding import keep_forwarding
from med3d_service.trust.audit.life import audited_life
from med3d_service.trust.establishing import note_trail
from med3d_store.object_store import ObjectInfo, ObjectStore, StoreError

log = structlog.get_logger()

ADOPT_AFTER_S = 5.0
"""A stored outcome is left so long to the worker that publishes it."""
LEFTOVERS_EVERY_S = 900.0
"""Every original in the store is looked at: with a hundred thousand of them that takes some seconds."""


def run(settings: Settings) -> None:
    """Sweep until SIGTERM or SIGINT."""
    configure_logging()
    stop = StopSignal(settings.alive_file)
    parts = Essentials.open(settings)
    broker = CeleryBroker(settings.broker_url.get_secret_value())
    steps = _steps(settings, parts, broker)
    leftovers = Leftovers(settings, parts.database, parts.store)
    last_leftovers = float("-inf")
    stopped = threading.Event()
    if settings.audit_syslog_url is not None:
        forwarding = (parts.database, settings, parts.trail, stopped)
        threading.Thread(target=keep_forwarding, args=forwarding, name="audit", daemon=True).start()
    log.info("scheduler_started")
    with audited_life(parts.trail, "scheduler"):
        while not stop.wait(settings.sweep_s):
            for name, step in steps:
                _tried(name, step)
            if time.monotonic() - last_leftovers >= LEFTOVERS_EVERY_S:
                last_leftovers = time.monotonic()
                _tried("leftovers", leftovers.remove)
    _tried("counter", partial(keep_count, parts))
    stopped.set()
    broker.close()
    parts.close()
    log.info("scheduler_stopped")


def _steps(settings: Settings, parts: Essentials, broker: CeleryBroker) -> Sequence[tuple[str, Callable[[], object]]]:
    """List the steps of one sweep by name, in their order."""
    database, store = parts.database, parts.store
    leases = Leases.of(settings)
    clock = StabilityClock(database, broker, parts.settling())
    return (
        ("outcomes", partial(adopt_outcomes, database, store, leases)),
        ("leases", partial(end_leases, database, leases)),
        ("settling", clock.settle_due),
        ("waits", clock.end_waits),
        ("appraisals", clock.ask_for_appraisals),
        ("late_instances", clock.conclude_late),
        ("ledger", Ledger(settings, database, store).check_if_due),
        ("retention", Retention(settings, database, store, parts.vault, parts.trail).sweep_if_due),
        ("corrected_members", partial(follow_corrections, database)),
        ("cohorts", partial(tend_cohorts, database, settings.cohort_ahead)),
        ("dispatch", partial(send_waiting, database, broker, redispatch_s=settings.redispatch_s)),
        ("stranded", partial(tell_stranded, database, settings.worker_silent_s)),
        ("silent_workers", SilentWorkers(database, settings.worker_silent_s).tell),
        ("erasures", partial(finish_erasures, database, store)),
        ("removals", partial(finish_removals, database, store)),
        ("counter", partial(keep_count, parts)),
    )


def keep_count(parts: Essentials) -> None:
    """Note where the audit trail ends, outside the database."""
    if parts.database.guard is not None:
        note_trail(parts.database, parts.database.guard, parts.trail)


def _tried(name: str, step: Callable[[], object]) -> None:
    try:
        step()
    except Exception:  # the edge: one step's trouble must not stop the others
        log.exception("sweep_failed", step=name)


def tell_stranded(database: Database, worker_silent_s: float) -> int:
    """Let runs whose bundle no live worker carries say so."""
    with database.write() as session:
        found = note_stranded(session, worker_silent_s)
    if found:
        log.warning("no_worker_carries_the_bundle", runs=found)
    return found


def end_leases(database: Database, leases: Leases) -> list[str]:
    """Return runs of silent workers to wait, unless it was the API that was silent."""
    with database.write() as session:
        beat = session.get(BeatRow, "api")
        now = now_of(session)
        # Workers renew well before half a lease is over, so none ends before the API's absence is noticed.
        if beat is None or now - beat.beat_at > leases.lease_s / 2:
            return []
        lost = lose_expired(session, leases)
        add_to_counters(session.connection(), {LEASES_ENDED: len(lost)} if lost else {})
    for run_id in lost:
        log.warning("lease_ended", run_id=run_id)
    return lost


def adopt_outcomes(database: Database, store: ObjectStore, leases: Leases) -> int:
    """Take outcomes from the store whose message was lost, and remove those that are settled; how many were taken."""
    adopted = 0
    for stored in _older(store.list("results"), ADOPT_AFTER_S):
        with contextlib.suppress(StoreError):  # gone meanwhile
            adopted += _adopt(database, store, leases, stored.key)
    return adopted


def _adopt(database: Database, store: ObjectStore, leases: Leases, key: str) -> int:
    try:
        stored = StoredOutcomes.model_validate_json(store.get(key)).outcomes
    except ValidationError:
        log.warning("stored_outcome_unreadable", key=key)
        store.delete(key)  # the leases run out, and the stages are done again
        return 0
    with database.write() as session:
        unsettled = _unsettled(session, [one.run_id for one in stored])
        ended = {one.run_id: one.outcome for one in stored if one.run_id in unsettled}
        adopted = ended.keys() - store_all_outcomes(session, ended, leases)
    for run_id in adopted:
        log.info("outcome_adopted", run_id=run_id, attempt=ended[run_id].attempt)
    store.delete(key)
    return len(adopted)


def _unsettled(session: Session, run_ids: list[str]) -> set[str]:
    return set(session.scalars(select(RunRow.id).where(RunRow.id.in_(run_ids), RunRow.status.not_in(TERMINAL))))


def _older(objects: Iterator[ObjectInfo], age_s: float) -> Iterator[ObjectInfo]:
    before = datetime.now(UTC) - timedelta(seconds=age_s)
    return (stored for stored in objects if stored.modified_at < before)
