"""Sending tasks after commit: ids and nothing else. A broker that is away fails nobody: the sweep sends again."""

from typing import Any, Protocol

import redis.exceptions
import structlog
from celery import Celery
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from med3d_contract.queues import (
    APPRAISE_STUDY,
    CELERY_PRIORITY,
    PREDICT_QUEUE,
    PREDICT_READY,
    PREPROCESS_QUEUE,
    PREPROCESS_RUN,
    celery_settings,
)
from med3d_contract.results import Priority, RunStatus
from med3d_service.database import Database, db_now
from med3d_service.tables import RunRow, StudyRow

log = structlog.get_logger()
QUEUE_OF = {RunStatus.QUEUED: PREPROCESS_QUEUE, RunStatus.PREPROCESSED: PREDICT_QUEUE}
_AWAY = (BrokerError, KombuError, redis.exceptions.RedisError, OSError)


class BrokerAwayError(Exception):
    """The broker cannot be reached now."""


class Broker(Protocol):
    """What the service needs of the queue."""

    def send(self, run_id: str, status: RunStatus, priority: int) -> None:
        """Send the task for a run that waits in ``status``. Raises BrokerAwayError."""

    def send_appraisal(self, study_id: str) -> None:
        """Ask a worker which series of a study can be analysed. Raises BrokerAwayError."""

    def is_drained(self, status: RunStatus, priority: int) -> bool:
        """Tell whether nothing of this priority waits in the queue of ``status``. Raises BrokerAwayError."""

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

    def _send(self, name: str, args: list[str], queue: str, priority: int) -> None:
        try:
            self._app.send_task(name, args=args, queue=queue, priority=priority, retry=False)
        except _AWAY as error:
            raise BrokerAwayError(type(error).__name__) from error

    def is_drained(self, status: RunStatus, priority: int) -> bool:
        """Tell whether nothing of this priority waits in the queue of ``status``. Raises BrokerAwayError."""
        try:
            with self._app.connection_for_write() as connection:
                channel = connection.default_channel
                key = channel._q_for_pri(QUEUE_OF[status], priority)  # noqa: SLF001 - kombu names its lists there
                return int(channel.client.llen(key)) == 0
        except _AWAY as error:
            raise BrokerAwayError(type(error).__name__) from error

    def check(self) -> None:
        """Raise BrokerAwayError where the broker does not answer."""
        self.is_drained(RunStatus.QUEUED, 0)

    def close(self) -> None:
        """Close the connections."""
        self._app.close()


def send_waiting(database: Database, broker: Broker, *, redispatch_s: float, **only: Any) -> int:
    """Send what waits and was not sent yet, and what was lost on the way: sent long ago while its queue is empty.

    ``only`` narrows it down: ``run_id`` or ``study_id``. Returns how many were sent; none where the broker is away.
    """
    with database.read() as session:
        waiting = _waiting(session, redispatch_s, **only)
    sent = 0
    try:
        drained: dict[tuple[RunStatus, int], bool] = {}
        for run in waiting:
            status = RunStatus(run.status)
            if run.dispatched_at is not None:
                line = (status, run.priority)
                if line not in drained:
                    drained[line] = broker.is_drained(*line)
                if not drained[line]:
                    continue
            sent += _send_one(database, broker, run)
    except BrokerAwayError as error:
        log.warning("broker_away", kind=str(error), waiting=len(waiting))
    return sent


def _waiting(
    session: Session, redispatch_s: float, run_id: str | None = None, study_id: str | None = None
) -> list[RunRow]:
    query = (
        select(RunRow)
        .join(StudyRow, StudyRow.id == RunRow.study_id)
        .where(
            RunRow.status.in_(QUEUE_OF),
            RunRow.held.is_(False),
            StudyRow.working_status == "ready",
            or_(RunRow.dispatched_at.is_(None), RunRow.dispatched_at < db_now() - redispatch_s),
        )
        .order_by(RunRow.priority, RunRow.seq)
    )
    if run_id is not None:
        query = query.where(RunRow.id == run_id)
    if study_id is not None:
        query = query.where(RunRow.study_id == study_id)
    return list(session.scalars(query))


def _send_one(database: Database, broker: Broker, run: RunRow) -> int:
    """Take the sending upon us, so that of two who see the run waiting one sends; give it back where that fails."""
    if not _mark(database, run, RunRow.dispatched_at.is_not_distinct_from(run.dispatched_at), at=db_now()):
        return 0
    try:
        broker.send(run.id, RunStatus(run.status), run.priority)
    except BrokerAwayError:
        _mark(database, run, at=None)
        raise
    return 1


def _mark(database: Database, run: RunRow, *also: ColumnElement[bool], at: ColumnElement[float] | None) -> bool:
    here = (RunRow.id == run.id, RunRow.status == run.status, RunRow.attempt == run.attempt, *also)
    statement = update(RunRow).where(*here).values(dispatched_at=at).execution_options(synchronize_session=False)
    with database.write() as session:
        return session.connection().execute(statement).rowcount == 1
