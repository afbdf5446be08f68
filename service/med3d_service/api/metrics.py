"""What Prometheus is shown: requests as they come, and the runs as the database has them when it asks."""

import time
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Row, bindparam, func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from med3d_contract.results import RunStatus
from med3d_service.custody.ledger.report import ACCOUNTS
from med3d_service.custody.ledger.tables import LedgerCheckRow, latest_check
from med3d_service.network.pulls.tables import PullRow
from med3d_service.runs.queueing.queue_signals import QueueSignal, queue_signals
from med3d_service.runs.queueing.silent_workers import LEASES_ENDED, WORKERS_SILENT
from med3d_service.runs.views import PRIORITIES
from med3d_service.storage.counters import CounterRow
from med3d_service.storage.database import Database, now_of
from med3d_service.storage.tables import DeliveryRow, RunRow, WorkerRow

# Made once: to put a statement together takes as long as to run it.
_RUNS = select(RunRow.status, RunRow.priority, func.count()).group_by(RunRow.status, RunRow.priority)
_OLDEST_WAITING = select(func.min(RunRow.created_at)).where(
    RunRow.status.in_((RunStatus.QUEUED, RunStatus.PREPROCESSED))
)
_ALIVE = select(func.count()).select_from(WorkerRow).where(WorkerRow.seen_at > bindparam("since"))
_DELIVERIES = select(DeliveryRow.destination, DeliveryRow.status, func.count()).group_by(
    DeliveryRow.destination, DeliveryRow.status
)
_PULLS = (
    select(PullRow.peer, PullRow.status, func.count())
    .where(PullRow.kind == "study")
    .group_by(PullRow.peer, PullRow.status)
)
_COUNTERS = select(CounterRow.name, CounterRow.label, CounterRow.value)


class Metrics:
    """The registry of one API process."""

    def __init__(self, database: Database, worker_silent_s: float, scale_target_s: float) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "med3d_http_requests", "Requests by route and status", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "med3d_http_request_seconds", "Seconds to the start of the answer", ["route"], registry=self.registry
        )
        self.registry.register(_RunsCollector(database, worker_silent_s, scale_target_s))

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Wrap ``app`` so that every request is counted by its route's template, never by its ids."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            started = time.perf_counter()

            async def counting_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    route = getattr(scope.get("route"), "path", "none")
                    self.requests.labels(scope["method"], route, str(message["status"])).inc()
                    self.seconds.labels(route).observe(time.perf_counter() - started)
                await send(message)

            await app(scope, receive, counting_send)

        return watched


class _RunsCollector(Collector):
    """Gauges that are read from the database at each scrape."""

    def __init__(self, database: Database, worker_silent_s: float, scale_target_s: float) -> None:
        self._database = database
        self._worker_silent_s = worker_silent_s
        self._scale_target_s = scale_target_s

    def describe(self) -> Iterator[Metric]:
        """Say nothing, so that registering asks the database nothing."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read the database."""
        with self._database.read() as session:
            counts = session.execute(_RUNS).all()
            now = now_of(session)
            oldest = session.execute(_OLDEST_WAITING).scalar_one()
            alive = session.execute(_ALIVE, {"since": now - self._worker_silent_s}).scalar_one()
            deliveries = session.execute(_DELIVERIES).all()
            pulls = session.execute(_PULLS).all()
            counters = session.execute(_COUNTERS).all()
            checked = latest_check(session)
            signals = queue_signals(session, now, self._scale_target_s)
        if checked is not None:
            yield from _ledger(checked, now)
        yield from _of_queues(signals)
        sent = GaugeMetricFamily("med3d_deliveries", "Deliveries by destination and status", labels=["to", "status"])
        for destination, status, count in deliveries:
            sent.add_metric([destination, status], count)
        yield sent
        yield from _of_arrivals(counters)
        yield from _of_lost_workers(counters)
        pulled = GaugeMetricFamily("med3d_pulls", "Pulls of studies by peer and status", labels=["peer", "status"])
        for peer, status, count in pulls:
            pulled.add_metric([peer, status], count)
        yield pulled
        runs = GaugeMetricFamily("med3d_runs", "Runs by status and priority", labels=["status", "priority"])
        for status, rank, count in counts:
            runs.add_metric([status, PRIORITIES[rank]], count)
        yield runs
        waiting = GaugeMetricFamily("med3d_oldest_waiting_seconds", "Age of the oldest run that waits")
        waiting.add_metric([], 0.0 if oldest is None else max(0.0, now - oldest))
        yield waiting
        workers = GaugeMetricFamily("med3d_workers_alive", "Workers heard of lately")
        workers.add_metric([], alive)
        yield workers


def _ledger(checked: LedgerCheckRow, now: float) -> Iterator[Metric]:
    """Return every code, so that an alert on more than 0 knows the metric before the first discrepancy."""
    found = GaugeMetricFamily("med3d_ledger_discrepancies", "What the last check of the ledger found", labels=["code"])
    for code in ACCOUNTS:
        found.add_metric([code], checked.findings.get(code, 0))
    yield found
    age = GaugeMetricFamily("med3d_ledger_age_seconds", "Seconds since the last check of the ledger")
    age.add_metric([], max(0.0, now - checked.checked_at))
    yield age


ARRIVING = {
    "instances": ("med3d_arrived_instances", "DICOM instances taken, new ones", "inlet"),
    "known_instances": ("med3d_known_instances", "DICOM instances that were here already", "inlet"),
    "bytes": ("med3d_arrived_bytes", "Bytes of the instances taken", "inlet"),
    "associations": ("med3d_associations", "DICOM associations by how they ended", "how"),
    "rejections": ("med3d_rejections", "Callers who got no association", "reason"),
}
"""By the counter's name: metric, what it says, and what its label is."""


def _of_arrivals(counters: Sequence[Row[str, str, int]]) -> Iterator[Metric]:
    """Return what the inlets have counted since the database was made."""
    for name, (metric, said, label) in ARRIVING.items():
        family = CounterMetricFamily(metric, said, labels=[label])
        for row in counters:
            if row.name == name:
                family.add_metric([row.label], row.value)
        yield family


LOST = {
    WORKERS_SILENT: ("med3d_workers_silent", "Workers that are not heard of any more: they were stopped, or died"),
    LEASES_ENDED: ("med3d_leases_ended", "Stages taken back from workers that fell silent in the middle of them"),
}
"""By the counter's name and label. Both are shown from the start, so that an alert knows what 0 was."""


def _of_lost_workers(counters: Sequence[Row[str, str, int]]) -> Iterator[Metric]:
    """Tell how often workers were lost since the database was made."""
    counted = {(row.name, row.label): row.value for row in counters}
    for counter, (metric, said) in LOST.items():
        family = CounterMetricFamily(metric, said)
        family.add_metric([], counted.get(counter, 0))
        yield family


def _of_queues(signals: list[QueueSignal]) -> Iterator[Metric]:
    """Return one gauge for each thing that an autoscaler may go by."""
    gauges = {
        "waiting": ("med3d_queue_waiting", "What waits in a queue"),
        "oldest_s": ("med3d_queue_oldest_seconds", "Age of what waits longest in a queue"),
        "in_work": ("med3d_queue_in_work", "What is being worked on"),
        "run_s": ("med3d_queue_run_seconds", "Seconds of one worker for one run, as measured lately"),
        "desired_workers": ("med3d_queue_desired_workers", "Workers that work off a queue within MED3D_SCALE_TARGET_S"),
    }
    for field, (name, said) in gauges.items():
        gauge = GaugeMetricFamily(name, said, labels=["queue"])
        for signal in signals:
            gauge.add_metric([signal.queue], getattr(signal, field))
        yield gauge
