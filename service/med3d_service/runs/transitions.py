"""The state machine of runs: the only place that changes a run's status.

Every move is a compare-and-set on status and attempt, with its run_event in the caller's transaction, so of two that
want to move a run one does and the other is told (see runs.moves). An attempt is one claim of one stage; its number
only grows and is the fence against workers that were thought lost. Whatever an attempt brings is taken while no newer
one exists.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, select, true, update
from sqlalchemy.orm import Session

from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import TERMINAL, Failure, Priority, Refusal, RunStatus
from med3d_contract.work import ActiveAttempt, Outcome, Preprocessed, WorkerIdentity
from med3d_service.problems import ServiceError
from med3d_service.runs.endings import (
    IN_WORK,
    ORIGINAL_DAMAGED,
    PREDICT,
    PREPROCESS,
    WAITING,
    Ending,
    Leases,
    columns_after_preprocessing,
    end_all,
    ending_for_outcome,
    ending_for_silence,
    lock_active,
    lock_with_attempts,
    may_end,
)
from med3d_service.runs.moves import (
    Move,
    attempts_of,
    compare_and_set,
    make_moves,
    note_heard,
    record_events,
    start_attempts,
)
from med3d_service.runs.states import AttemptEnding
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.database import db_now, now_of
from med3d_service.storage.tables import RunRow, StudyRow

EVERY_STUDY = true()
LOST_AT_ONCE = 500
_SAME = {
    "completed": frozenset({AttemptEnding.COMPLETED}),
    "refused": frozenset({AttemptEnding.REFUSED, AttemptEnding.PARKED}),
    "failed": frozenset({AttemptEnding.FAILED, AttemptEnding.RETRIED}),
}
"""How an attempt has ended of which the same outcome was told before."""


def claim_preprocess(session: Session, run_id: str, worker: WorkerIdentity, leases: Leases) -> RunRow:
    """Take the preprocess stage. Raises ServiceError: unknown_run, not_claimable, bundle_not_held."""
    return claim_preprocess_with_batch_mates(session, run_id, worker, 1, leases)[0]


def claim_preprocess_with_batch_mates(
    session: Session,
    run_id: str,
    worker: WorkerIdentity,
    limit: int,
    leases: Leases,
    seen: ColumnElement[bool] = EVERY_STUDY,
) -> list[RunRow]:
    """Take the preprocess stage of a run, and with it that of up to ``limit`` - 1 others of its bundle and priority.

    seen: which studies are the worker's; of the others it is given no run.
    Raises ServiceError: unknown_run, not_claimable, bundle_not_held.
    """
    run = _locked(session, run_id)
    if run is None:
        raise ServiceError("unknown_run")
    copied = session.execute(select(StudyRow.working_status).where(StudyRow.id == run.study_id)).scalar_one()
    if run.status != RunStatus.QUEUED or copied != CopyStatus.READY or run.held:
        raise ServiceError("not_claimable")
    if run.bundle_digest not in {bundle.digest for bundle in worker.bundles}:
        raise ServiceError("bundle_not_held")
    batch_mates = _batch_mates(session, run, limit - 1, seen) if limit > 1 and not run.alone else []
    return _claim(session, [run, *batch_mates], PREPROCESS, worker, leases)


def _batch_mates(session: Session, run: RunRow, limit: int, seen: ColumnElement[bool]) -> list[RunRow]:
    """Lock runs like this one: those that no task was sent for, then, at a line's end, the last with a task.

    The tasks of the latter will find nothing, which costs less than a claim for each.
    """
    alike = (
        select(RunRow)
        .join(StudyRow, StudyRow.id == RunRow.study_id)
        .where(
            RunRow.status == RunStatus.QUEUED,
            RunRow.held.is_(False),
            RunRow.priority == run.priority,
            RunRow.bundle_digest == run.bundle_digest,
            RunRow.alone.is_(False),
            RunRow.id != run.id,
            StudyRow.working_status == CopyStatus.READY,
            seen,
        )
        .with_for_update(skip_locked=True, of=RunRow)
    )
    unsent = alike.where(RunRow.dispatched_at.is_(None)).order_by(RunRow.seq)
    found = list(session.scalars(unsent.limit(limit)))
    if len(found) < limit:
        # One that was put back waits for its own task, so that what fails is not tried again at once.
        sent = alike.where(RunRow.dispatched_at.is_not(None), RunRow.retries == 0).order_by(RunRow.seq.desc())
        found += session.scalars(sent.limit(limit - len(found)))
    return found


def claim_predict(
    session: Session, worker: WorkerIdentity, limit: int, leases: Leases, seen: ColumnElement[bool] = EVERY_STUDY
) -> list[RunRow]:
    """Take the predict stage of up to ``limit`` runs of one bundle, the most urgent first.

    seen: which studies are the worker's; of the others it is given no run.
    A run whose batch was lost is taken alone, so that a poisonous one is charged and its neighbours are not.
    """
    waiting = (
        select(RunRow)
        .where(
            EVERY_STUDY if seen is EVERY_STUDY else RunRow.study_id.in_(select(StudyRow.id).where(seen)),
            RunRow.status == RunStatus.PREPROCESSED,
            RunRow.held.is_(False),
            RunRow.bundle_digest.in_([bundle.digest for bundle in worker.bundles]),
        )
        .order_by(RunRow.priority, RunRow.seq)
        .with_for_update(skip_locked=True)
    )
    first = session.scalars(waiting.limit(1)).first()
    if first is None:
        return []
    batch: Sequence[RunRow] = [first]
    if not first.alone and limit > 1:
        same = waiting.where(RunRow.bundle_digest == first.bundle_digest, RunRow.alone.is_(False))
        batch = session.scalars(same.limit(limit)).all()
    return _claim(session, batch, PREDICT, worker, leases)


def release(session: Session, held: Sequence[ActiveAttempt]) -> set[str]:
    """Put runs back to wait on which their attempt began no work: nobody is charged. Returns those that were over."""
    runs, attempts = lock_active(session, held)
    endings = [
        Ending(
            attempts[run.id],
            Move(run, WAITING[attempts[run.id].stage], {"dispatched_at": None}, "released"),
            AttemptEnding.RELEASED,
        )
        for run in runs
    ]
    end_all(session, endings)
    return {one.run_id for one in held} - {run.id for run in runs}


def renew(session: Session, held: Sequence[ActiveAttempt], leases: Leases) -> set[str]:
    """Renew leases and note what is being done, where that is told. Returns the runs whose attempt is over."""
    runs, attempts = lock_active(session, held)
    stages = {one.run_id: one.stage for one in held}
    now = now_of(session)
    told = [run for run in runs if stages[run.id] not in {None, run.stage}]
    until = now + leases.lease_s
    compare_and_set(session, [(run, {"lease_expires_at": until, "stage": stages[run.id] or run.stage}) for run in runs])
    note_heard(session, list(attempts.values()), now)
    record_events(session, [(run, now, RunStatus(run.status), None) for run in told])
    return {one.run_id for one in held} - {run.id for run in runs}


def store_preprocessed(session: Session, run_id: str, preprocessed: Preprocessed) -> None:
    """End the preprocess stage: the run waits for prediction. Idempotent; raises ServiceError("attempt_over")."""
    if store_all_preprocessed(session, {run_id: preprocessed}):
        raise ServiceError("attempt_over")


def store_all_preprocessed(session: Session, done: Mapping[str, Preprocessed]) -> set[str]:
    """End the preprocess stage of several runs. Idempotent; returns those for which it came too late."""
    found = lock_with_attempts(session, {run_id: one.attempt for run_id, one in done.items()})
    endings, over = [], done.keys() - found.keys()
    for run_id, (run, attempt) in found.items():
        if attempt.ending == AttemptEnding.PREPROCESSED:
            continue
        if attempt.stage != PREPROCESS or not may_end(run, attempt):
            over.add(run_id)
            continue
        endings.append(
            Ending(
                attempt,
                Move(run, RunStatus.PREPROCESSED, columns_after_preprocessing(done[run_id])),
                AttemptEnding.PREPROCESSED,
            )
        )
    end_all(session, endings)
    return over


def store_outcome(session: Session, run_id: str, outcome: Outcome, leases: Leases) -> None:
    """End the run, or give it back to wait where a fault may pass. Idempotent; raises ServiceError("attempt_over")."""
    if _locked(session, run_id) is None:
        raise ServiceError("unknown_run")
    if store_all_outcomes(session, {run_id: outcome}, leases):
        raise ServiceError("attempt_over")


def store_all_outcomes(session: Session, ended: Mapping[str, Outcome], leases: Leases) -> set[str]:
    """Return ``store_outcome`` for several runs at once. Returns those for which it came too late."""
    found = lock_with_attempts(session, {run_id: one.attempt for run_id, one in ended.items()})
    endings, over = [], ended.keys() - found.keys()
    for run_id, (run, attempt) in found.items():
        outcome = ended[run_id]
        same = _SAME[outcome.outcome]
        if attempt.ending in same:
            continue
        ending = ending_for_outcome(session, run, attempt, outcome, leases) if may_end(run, attempt) else None
        if ending is None:
            over.add(run_id)
        else:
            endings.append(ending)
    end_all(session, endings)
    return over


def refuse_study(session: Session, study_id: str, refusal: Refusal) -> None:
    """End the waiting runs of a study that has no working copy to work on."""
    to, values = RunStatus.REFUSED, {"refusal": refusal.model_dump(mode="json")}
    if refusal.code == ORIGINAL_DAMAGED:
        failure = Failure(code=refusal.code, reason=refusal.reason, retryable=False)
        to, values = RunStatus.FAILED, {"failure": failure.model_dump(mode="json")}
    waiting = select(RunRow).where(RunRow.study_id == study_id, RunRow.status == RunStatus.QUEUED).with_for_update()
    moves = [Move(run, to, values, refusal.code) for run in session.scalars(waiting)]
    make_moves(session, moves, now_of(session))


def lose_expired(session: Session, leases: Leases) -> list[str]:
    """Give runs whose lease has ended back to wait, or fail them when their tries are used up; their ids.

    Where nothing was heard of who claimed, the answer to the claim was lost: nobody worked, and the run is as before.
    """
    expired = (
        select(RunRow)
        .where(RunRow.status.in_(IN_WORK.values()), RunRow.lease_expires_at < db_now())
        .order_by(RunRow.seq)
        .limit(LOST_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    runs = session.scalars(expired).all()
    attempts, now = attempts_of(session, {run.id: run.attempt for run in runs}), now_of(session)
    end_all(
        session,
        [ending_for_silence(run, attempt, leases, now) for run in runs for attempt in [attempts[run.id]]],
    )
    return [run.id for run in runs]


def grant_grace(session: Session, leases: Leases) -> None:
    """Extend all leases by a full one: for as long as the API was away no worker could renew its own."""
    session.execute(
        update(RunRow)
        .where(RunRow.status.in_(IN_WORK.values()))
        .values(lease_expires_at=db_now() + leases.lease_s)
        .execution_options(synchronize_session=False)
    )


def raise_priority(session: Session, run_id: str, priority: Priority) -> bool:
    """Make a run that has not ended more urgent, never less; whether it changed."""
    rank = CELERY_PRIORITY[priority]
    raised = (
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.priority > rank, RunRow.status.not_in(TERMINAL))
        .values(priority=rank, dispatched_at=None, held=False)
        .execution_options(synchronize_session=False)
    )
    return session.connection().execute(raised).rowcount == 1


# --- the steps of a move ---


def _locked(session: Session, run_id: str) -> RunRow | None:
    return session.scalars(select(RunRow).where(RunRow.id == run_id).with_for_update()).one_or_none()


def _claim(
    session: Session, runs: Sequence[RunRow], stage: str, worker: WorkerIdentity, leases: Leases
) -> list[RunRow]:
    now = now_of(session)
    moves = [
        Move(
            run,
            IN_WORK[stage],
            {
                "attempt": run.attempt + 1,
                "worker_id": worker.worker_id,
                "lease_expires_at": now + leases.lease_s,
                "started_at": run.started_at or now,
            },
        )
        for run in runs
    ]
    make_moves(session, moves, now)
    start_attempts(session, runs, stage, worker.worker_id, now)
    return list(runs)
