"""What an autoscaler asks of each queue: how much waits, for how long, how much is in work, how many workers it takes.

The database tells it, not the queue, which holds a window of what waits. What is held back waits for no worker.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from med3d_contract.queues import COURIER_QUEUE, PREDICT_QUEUE, PREPROCESS_QUEUE
from med3d_contract.results import RunStatus
from med3d_service.runs.endings import PREDICT, PREPROCESS
from med3d_service.runs.states import WORKED_ENDINGS
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.tables import AttemptRow, RunRow, StudyRow

MEASURED = 100
"""Endings of a stage over which its time is averaged."""
FIRST_GUESS_S = 5.0
"""Of a stage that has never ended here."""


@dataclass(frozen=True)
class QueueSignal:
    """One queue now. desired_workers: processes that work off all of it within the time that the settings give it."""

    queue: str
    waiting: int
    oldest_s: float
    in_work: int
    run_s: float
    desired_workers: int


def queue_signals(session: Session, now: float, target_s: float) -> list[QueueSignal]:
    """Return the queues of work in the order in which a study passes them."""
    ready = StudyRow.id == RunRow.study_id, StudyRow.working_status == CopyStatus.READY
    queued = _count_and_oldest(
        session, RunRow.created_at, RunRow.status == RunStatus.QUEUED, RunRow.held.is_(False), *ready
    )
    ended = AttemptRow.run_id == RunRow.id, AttemptRow.number == RunRow.attempt
    preprocessed = _count_and_oldest(
        session, AttemptRow.ended_at, RunRow.status == RunStatus.PREPROCESSED, RunRow.held.is_(False), *ended
    )
    copies = _by_status(session, StudyRow.working_status, StudyRow.created_at, (CopyStatus.WAITING, CopyStatus.COPYING))
    runs = _by_status(session, RunRow.status, RunRow.created_at, (RunStatus.PREPROCESSING, RunStatus.PREDICTING))
    return [
        _signal(COURIER_QUEUE, copies["waiting"], copies["copying"][0], FIRST_GUESS_S, now, target_s),
        *(
            _signal(queue, waiting, runs[status][0], _seconds_per_run(session, stage), now, target_s)
            for queue, waiting, status, stage in (
                (PREPROCESS_QUEUE, queued, RunStatus.PREPROCESSING, PREPROCESS),
                (PREDICT_QUEUE, preprocessed, RunStatus.PREDICTING, PREDICT),
            )
        ),
    ]


def desired_workers(runs: int, run_s: float, target_s: float) -> int:
    """Return workers that work off ``runs`` within ``target_s``: none for none, and never more than there are runs."""
    return min(runs, math.ceil(runs * run_s / target_s))


def _count_and_oldest(
    session: Session, since: InstrumentedAttribute[Any], *where: ColumnElement[bool]
) -> tuple[int, float | None]:
    count, oldest = session.execute(select(func.count(), func.min(since)).where(*where)).one()
    return count, oldest


def _by_status(
    session: Session, status: InstrumentedAttribute[str], since: InstrumentedAttribute[float], wanted: Sequence[str]
) -> dict[str, tuple[int, float | None]]:
    """Tell how many have each of these statuses, and since when the oldest."""
    found = session.execute(select(status, func.count(), func.min(since)).where(status.in_(wanted)).group_by(status))
    return dict.fromkeys(wanted, (0, None)) | {name: (count, oldest) for name, count, oldest in found}


def _signal(
    queue: str, waiting: tuple[int, float | None], in_work: int, run_s: float, now: float, target_s: float
) -> QueueSignal:
    count, oldest = waiting
    return QueueSignal(
        queue=queue,
        waiting=count,
        oldest_s=0.0 if oldest is None else max(0.0, now - oldest),
        in_work=in_work,
        run_s=run_s,
        desired_workers=desired_workers(count + in_work, run_s, target_s),
    )


def _seconds_per_run(session: Session, stage: str) -> float:
    """Return a worker's seconds for one run of ``stage``, averaged over those that ended last here."""
    newest = (
        select((AttemptRow.ended_at - AttemptRow.claimed_at) / AttemptRow.batch_size)
        .where(AttemptRow.stage == stage, AttemptRow.ended_at.is_not(None), AttemptRow.ending.in_(WORKED_ENDINGS))
        .order_by(AttemptRow.ended_at.desc())
        .limit(MEASURED)
    )
    found = [float(seconds) for seconds in session.scalars(newest) if seconds is not None]
    return sum(found) / len(found) if found else FIRST_GUESS_S
