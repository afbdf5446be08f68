"""Sending tasks after commit: ids and nothing else. A broker that is away fails nobody: the sweep sends again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import redis.exceptions
import structlog
from celery import Celery
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import ColumnElement, or_, select, update

from med3d_contract.queues import (
    APPRAISE_STUDY,
    CELERY_PRIORITY,
    EXPLAIN_RUN,
    MAKE_VOLUMES,
    PREDICT_QUEUE,
    PREDICT_READY,
    PREPROCESS_QUEUE,
    PREPROCESS_RUN,
    RUNS_PER_PREDICT_TASK,
    celery_settings,
)
from med3d_contract.results import Priority, RunStatus
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.database import Database, db_now
from med3d_service.storage.tables import RunRow, StudyRow

log = structlog.get_logger()
QUEUE_OF = {RunStatus.QUEUED: PREPROCESS_QUEUE, RunStatus.PREPROCESSED: PREDICT_QUEUE}
MAX_QUEUED_TASKS = 200
"""Tasks of one stage and priority in the queue at a time: Redis stays small however many runs wait."""
_AWAY = (BrokerError, KombuError, redis.exceptions.RedisError, OSError)


@dataclass(frozen=True)
class Line:
    """Runs that wait for one stage with one priority. One task is sent for ``runs_per_task`` of them."""

    status: RunStatus
    priority: int
    runs_per_task: int


LINES = tuple(
    Line(status, priority, runs_per_task)
    for priority in sorted(CELERY_PRIORITY.values())
    for status, runs_per_task in ((RunStatus.PREPROCESSED, RUNS_PER_PREDICT_TASK), (RunStatus.QUEUED, 1))
)
"""The most urgent first; of those, what is nearer its end."""


class BrokerAwayError(Exception):
    """The broker cannot be reached now."""


class Broker(Protocol):
    """What the service needs of the queue."""

    def send(self, run_id: str, status: RunStatus, priority: int) -> None:
        """Send the task for a run that waits in ``status``. Raises BrokerAwayError."""

    def send_appraisal(self, study_id: str) -> None:
        """Ask a worker which series of a study can be analysed. Raises BrokerAwayError."""

    def send_explanation(self, run_id: str) -> None:
        """Ask a worker to explain a run's number. Raises BrokerAwayError."""

    def send_volumes(self, run_id: str) -> None:
        """Ask a worker to make the volumes of a run's head. Raises BrokerAwayError."""

    def queue_depth(self, status: RunStatus, priority: int) -> int:
        """Tell how many tasks of this priority lie in the queue of ``status``. Raises BrokerAwayError."""

    def check(self) -> None:
        """Raise BrokerAwayError where the broker does not answer."""


class CeleryBroker:
    """The broker through Celery's producer. Each call fails within about two seconds when the broker is away."""

    def __init__(self, url: str) -> None:
        self._app = Celery("med3d_service", set_as_current=False)
        settings = celery_settings(url)
        impatient = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
        sockets = {"socket_connect_timeout": 1.0, "socket_timeout": 2.0}
        settings["broker_transport_options"] = settings["broker_transport_options"] | impatient | sockets
        self._app.conf.update(settings, broker_connection_timeout=1.0)

    def send(self, run_id: str, status: RunStatus, priority: int) -> None:
        """Send the task for a run that waits in ``status``. Raises BrokerAwayError."""
        name, args = (PREPROCESS_RUN, [run_id]) if status == RunStatus.QUEUED else (PREDICT_READY, [])
        self._send(name, args, QUEUE_OF[status], priority)

    def send_appraisal(self, study_id: str) -> None:
        """Ask a worker which series of a study can be analysed. Raises BrokerAwayError."""
        self._send(APPRAISE_STUDY, [study_id], PREPROCESS_QUEUE, CELERY_PRIORITY[Priority.ROUTINE])

    def send_explanation(self, run_id: str) -> None:
        """Ask a worker to explain a run's number. Raises BrokerAwayError."""
        self._send(EXPLAIN_RUN, [run_id], PREDICT_QUEUE, CELERY_PRIORITY[Priority.ROUTINE])

    def send_volumes(self, run_id: str) -> None:
        """Ask a worker to make the volumes of a run's head. Raises BrokerAwayError."""
        self._send(MAKE_VOLUMES, [run_id], PREPROCESS_QUEUE, CELERY_PRIORITY[Priority.ROUTINE])

    def _send(self, name: str, args: list[str], queue: str, priority: int) -> None:
        try:
            self._app.send_task(name, args=args, queue=queue, priority=priority, retry=False)
        except _AWAY as error:
            raise BrokerAwayError(type(error).__name__) from error

    def queue_depth(self, status: RunStatus, priority: int) -> int:
        """Tell how many tasks of this priority lie in the queue of ``status``. Raises BrokerAwayError."""
        try:
            with self._app.connection_for_write() as connection:
                channel = connection.default_channel
                key = channel._q_for_pri(QUEUE_OF[status], priority)  # noqa: SLF001 - kombu names its lists there
                return int(channel.client.llen(key))
        except _AWAY as error:
            raise BrokerAwayError(type(error).__name__) from error

    def check(self) -> None:
        """Raise BrokerAwayError where the broker does not answer."""
        self.queue_depth(RunStatus.QUEUED, 0)

    def close(self) -> None:
        """Close the connections."""
        self._app.close()


def send_waiting(
    database: Database,
    broker: Broker,
    *,
    redispatch_s: float,
    study_id: str | None = None,
    run_ids: Collection[str] | None = None,
) -> int:
    """Send what waits and was not sent yet, and what was lost on the way: sent long ago while its queue is empty.

    No queue holds more than MAX_QUEUED_TASKS tasks of one priority: what is not sent yet is claimed beside what is, or
    sent by a later sweep. ``study_id`` and ``run_ids`` narrow it down. Returns how many runs a task was sent for; none
    where the broker is away.
    """
    only: list[ColumnElement[bool]] = []
    if study_id is not None:
        only.append(RunRow.study_id == study_id)
    if run_ids is not None:
        only.append(RunRow.id.in_(list(run_ids)))
    sent = 0
    try:
        for line in _lines_of(database, only) if only else LINES:
            sent += _send_line(database, broker, line, redispatch_s, only)
    except BrokerAwayError as error:
        log.warning("broker_away", kind=str(error))
    return sent


def _lines_of(database: Database, only: Sequence[ColumnElement[bool]]) -> list[Line]:
    """Return the lines in which some of these runs stand: most often one."""
    with database.read() as session:
        found = {tuple(row) for row in session.execute(select(RunRow.status, RunRow.priority).where(*only).distinct())}
    return [line for line in LINES if (line.status, line.priority) in found]


def _send_line(
    database: Database, broker: Broker, line: Line, redispatch_s: float, only: Sequence[ColumnElement[bool]]
) -> int:
    due = or_(RunRow.dispatched_at.is_(None), RunRow.dispatched_at < db_now() - redispatch_s)
    here = (
        RunRow.status == line.status, RunRow.priority == line.priority, RunRow.held.is_(False),
        StudyRow.working_status == CopyStatus.READY, *only,
    )  # fmt: skip
    waiting = (
        select(RunRow.id, RunRow.dispatched_at)
        .join(StudyRow, StudyRow.id == RunRow.study_id)
        .where(*here, due)
        .order_by(RunRow.seq)
        .limit(MAX_QUEUED_TASKS * line.runs_per_task)
    )
    with database.read() as session:
        found = session.execute(waiting).all()
    if not found:
        return 0
    depth = broker.queue_depth(line.status, line.priority)
    room = max(0, MAX_QUEUED_TASKS - depth) * line.runs_per_task
    wanted = [run_id for run_id, sent_at in found if sent_at is None or not depth][:room]
    run_ids = _mark_dispatched(database, line, wanted, due)
    tasks = run_ids[:: line.runs_per_task]
    for number, run_id in enumerate(tasks):
        try:
            broker.send(run_id, line.status, line.priority)
        except BrokerAwayError:
            _unmark(database, line, run_ids[number * line.runs_per_task :])
            raise
    return len(run_ids)


def _mark_dispatched(database: Database, line: Line, run_ids: Sequence[str], due: ColumnElement[bool]) -> list[str]:
    """Mark runs as dispatched (compare-and-set), so that two senders never enqueue one; return those that we marked."""
    if not run_ids:
        return []
    ours = (
        update(RunRow)
        .where(RunRow.id.in_(run_ids), RunRow.status == line.status, RunRow.priority == line.priority, due)
        .values(dispatched_at=db_now())
        .returning(RunRow.id)
        .execution_options(synchronize_session=False)
    )
    with database.write() as session:
        marked = set(session.connection().execute(ours).scalars())
    return [run_id for run_id in run_ids if run_id in marked]


def _unmark(database: Database, line: Line, run_ids: Sequence[str]) -> None:
    """Give the sending back: the next who sees them waiting sends them."""
    back = (
        update(RunRow)
        .where(RunRow.id.in_(run_ids), RunRow.status == line.status)
        .values(dispatched_at=None)
        .execution_options(synchronize_session=False)
    )
    with database.write() as session:
        session.execute(back)
