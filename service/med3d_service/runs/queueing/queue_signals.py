"""What an autoscaler asks of each queue: how much waits, for how long, how much is in work, how many workers it takes.

The database tells it, not the queue, which holds a window of what waits. What is held back waits for no worker.
"""

import math
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

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
Waiting = tuple[int, float | None]
"""How many wait, and since when the oldest."""
NONE: Waiting = (0, None)


@dataclass(frozen=True)
class QueueSignal:
    """One queue now. desired_workers: processes that work off all of it within the time that the settings give it."""

    queue: str
    waiting: int
    oldest_s: float
    in_work: int
    run_s: float
    desired_workers: int


# Made once: to put a statement together takes as long as to run it, and Prometheus and autoscalers ask without end.
_QUEUED = select(func.count(), func.min(RunRow.created_at)).where(
    RunRow.status == RunStatus.QUEUED,
    RunRow.held.is_(False),
    StudyRow.id == RunRow.study_id,
    StudyRow.working_status == CopyStatus.READY,
)
_PREPROCESSED = select(func.count(), func.min(AttemptRow.ended_at)).where(
    RunRow.status == RunStatus.PREPROCESSED,
    RunRow.held.is_(False),
    AttemptRow.run_id == RunRow.id,
    AttemptRow.number == RunRow.attempt,
)
_COPIES = (
    select(StudyRow.working_status, func.count(), func.min(StudyRow.created_at))
    .where(StudyRow.working_status.in_((CopyStatus.WAITING, CopyStatus.COPYING)))
    .group_by(StudyRow.working_status)
)
_RUNS_IN_WORK = (
    select(RunRow.status, func.count(), func.min(RunRow.created_at))
    .where(RunRow.status.in_((RunStatus.PREPROCESSING, RunStatus.PREDICTING)))
    .group_by(RunRow.status)
)
# Not where the clock was set back in between: a mean below nought wants no worker, and with none left no stage would
# end by which it could heal.
_NEWEST_SECONDS = {
    stage: select((AttemptRow.ended_at - AttemptRow.claimed_at) / AttemptRow.batch_size)
    .where(
        AttemptRow.stage == stage,
        AttemptRow.ended_at.is_not(None),
        AttemptRow.ended_at > AttemptRow.claimed_at,
        AttemptRow.ending.in_(WORKED_ENDINGS),
    )
    .order_by(AttemptRow.ended_at.desc())
    .limit(MEASURED)
    for stage in (PREPROCESS, PREDICT)
}


def queue_signals(session: Session, now: float, target_s: float) -> list[QueueSignal]:
    """Return the queues of work in the order in which a study passes them."""
    queued = _count_and_oldest(session, _QUEUED)
    preprocessed = _count_and_oldest(session, _PREPROCESSED)
    copies = _by_status(session, _COPIES)
    runs = _by_status(session, _RUNS_IN_WORK)
    return [
        _signal(
            COURIER_QUEUE,
            copies.get(CopyStatus.WAITING, NONE),
            copies.get(CopyStatus.COPYING, NONE)[0],
            FIRST_GUESS_S,
            now,
            target_s,
        ),
        *(
            _signal(queue, waiting, runs.get(status, NONE)[0], _seconds_per_run(session, stage), now, target_s)
            for queue, waiting, status, stage in (
                (PREPROCESS_QUEUE, queued, RunStatus.PREPROCESSING, PREPROCESS),
                (PREDICT_QUEUE, preprocessed, RunStatus.PREDICTING, PREDICT),
            )
        ),
    ]


def desired_workers(runs: int, run_s: float, target_s: float) -> int:
    """Return workers that work off ``runs`` within ``target_s``: none for none, and never more than there are runs."""
    return min(runs, math.ceil(runs * run_s / target_s))


def _count_and_oldest(session: Session, asked: Select[int, float | None]) -> Waiting:
    count, oldest = session.execute(asked).one()
    return count, oldest


def _by_status(session: Session, asked: Select[str, int, float | None]) -> dict[str, Waiting]:
    """Tell how many have each of the statuses that there are, and since when the oldest."""
    return {status: (count, oldest) for status, count, oldest in session.execute(asked)}


def _signal(queue: str, waiting: Waiting, in_work: int, run_s: float, now: float, target_s: float) -> QueueSignal:
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
    found = [float(seconds) for seconds in session.scalars(_NEWEST_SECONDS[stage]) if seconds is not None]
    return sum(found) / len(found) if found else FIRST_GUESS_S
