"""The state machine of runs: the only place that changes a run's status.

Every move is a compare-and-set on status and attempt, with its run_event in the caller's transaction, so of two that
want to move a run one does and the other is told. An attempt is one claim of one stage; its number only grows and is
the fence against workers that were thought lost. Whatever an attempt brings is taken while no newer one exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import TERMINAL, Failure, Priority, Refusal, RunStatus
from med3d_contract.work import (
    OUR_SURROUNDINGS,
    Completed,
    Failed,
    Outcome,
    Preprocessed,
    Refused,
    WorkerIdentity,
)
from med3d_service.database import db_now
from med3d_service.problems import ServiceError
from med3d_service.runs.parking import may_still_get_t1, park_study
from med3d_service.tables import AttemptRow, OutboxRow, RunEventRow, RunRow, StudyRow

PREPROCESS, PREDICT = "preprocess", "predict"
WAITING = {PREPROCESS: RunStatus.QUEUED, PREDICT: RunStatus.PREPROCESSED}
IN_WORK = {PREPROCESS: RunStatus.PREPROCESSING, PREDICT: RunStatus.PREDICTING}
ANSWERS = frozenset({RunStatus.COMPLETED, RunStatus.REFUSED})
TENSOR_GONE = frozenset({"object_missing", "object_damaged"})
"""Faults of the predict stage that only preprocessing can mend: it makes the tensor again."""
ORIGINAL_DAMAGED = "original_damaged"
"""Why a study may have no working copy through a fault of the store's: its runs have failed, and were not refused."""
WORKER_LOST = Failure(
    code="worker_lost",
    reason="The worker was lost each time that it worked on this run; its log tells why.",
    retryable=True,
)


@dataclass(frozen=True)
class Leases:
    """How long a silent worker keeps its stage, and how many tries a stage has."""

    lease_s: float
    max_tries: int


@dataclass(frozen=True)
class NewRun:
    """A run to insert. prepared: columns that an earlier run's preprocessing leaves (see runs.reuse)."""

    run_id: str
    study_id: str
    prepared: Mapping[str, Any] | None = None
    code: str | None = None


def enqueue(
    session: Session,
    study_id: str,
    bundle_digest: str,
    *,
    run_id: str,
    priority: Priority,
    chosen_series: str = "",
    prepared: Mapping[str, Any] | None = None,
    code: str | None = None,
) -> RunRow:
    """Insert a run that waits for preprocessing, or for prediction where ``prepared`` (see runs.reuse) is there.

    ``code`` tells in its first event why it came to be.
    """
    wanted = NewRun(run_id, study_id, prepared, code)
    (run,) = enqueue_many(session, bundle_digest, priority, [wanted], chosen_series)
    return run


def enqueue_many(
    session: Session,
    bundle_digest: str,
    priority: Priority,
    wanted: Sequence[NewRun],
    chosen_series: str = "",
    reprocessing_id: str | None = None,
) -> list[RunRow]:
    """Insert many runs at once."""
    now = _now(session)
    runs = [
        RunRow(
            id=new.run_id,
            study_id=new.study_id,
            bundle_digest=bundle_digest,
            chosen_series=chosen_series,
            status=RunStatus.QUEUED if new.prepared is None else RunStatus.PREPROCESSED,
            priority=CELERY_PRIORITY[priority],
            attempt=0,
            tries=0,
            retries=0,
            alone=False,
            reprocessing_id=reprocessing_id,
            created_at=now,
            **(new.prepared or {}),
        )
        for new in wanted
    ]
    session.add_all(runs)
    session.flush()
    session.add_all(
        RunEventRow(run_id=run.id, at=now, status=run.status, stage=None, attempt=0, code=new.code)
        for run, new in zip(runs, wanted, strict=True)
    )
    session.flush()
    return runs


def waits_for(reprocessing_id: str) -> tuple[ColumnElement[bool], ...]:
    """Its runs that have not begun; not those that somebody made more urgent meanwhile."""
    return (
        RunRow.reprocessing_id == reprocessing_id,
        RunRow.status.in_(WAITING.values()),
        RunRow.priority == CELERY_PRIORITY[Priority.COHORT],
    )


def cancel_waiting(session: Session, reprocessing_id: str) -> int:
    """Cancel the runs of a reprocessing that have not begun; what is in work is brought to its end."""
    waiting = select(RunRow).where(*waits_for(reprocessing_id)).with_for_update(skip_locked=True)
    runs = session.scalars(waiting).all()
    for run in runs:
        _move(session, run, RunStatus.CANCELLED, {"held": False}, "cancelled")
    return len(runs)


def claim_preprocess(session: Session, run_id: str, worker: WorkerIdentity, leases: Leases) -> RunRow:
    """Take the preprocess stage. Raises ServiceError: unknown_run, not_claimable, bundle_not_held."""
    run = _locked(session, run_id)
    if run is None:
        raise ServiceError("unknown_run")
    study_ready = session.execute(select(StudyRow.working_status).where(StudyRow.id == run.study_id)).scalar_one()
    if run.status != RunStatus.QUEUED or study_ready != "ready" or run.held:
        raise ServiceError("not_claimable")
    if run.bundle_digest not in {bundle.digest for bundle in worker.bundles}:
        raise ServiceError("bundle_not_held")
    return _claim(session, run, PREPROCESS, worker, 1, leases)


def claim_predict(session: Session, worker: WorkerIdentity, limit: int, leases: Leases) -> list[RunRow]:
    """Take the predict stage of up to ``limit`` runs of one bundle, the most urgent first.

    A run whose batch was lost is taken alone, so that a poisonous one is charged and its neighbours are not.
    """
    waiting = (
        select(RunRow)
        .where(
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
    return [_claim(session, run, PREDICT, worker, len(batch), leases) for run in batch]


def renew(session: Session, run_id: str, attempt: int, stage: str | None, leases: Leases) -> None:
    """Renew the lease and note what is being done. Raises ServiceError("attempt_over")."""
    run = _locked(session, run_id)
    if run is None or run.attempt != attempt or run.status not in IN_WORK.values():
        raise ServiceError("attempt_over")
    changed = stage is not None and stage != run.stage
    values: dict[str, Any] = {"lease_expires_at": db_now() + leases.lease_s}
    if changed:
        values["stage"] = stage
    here = (RunRow.id == run_id, RunRow.attempt == attempt, RunRow.status == run.status)
    if not _changed(session, here, values):
        raise ServiceError("attempt_over")
    if changed:
        _record(session, run_id, _now(session), RunStatus(run.status), attempt, stage)


def store_preprocessed(session: Session, run_id: str, preprocessed: Preprocessed) -> None:
    """End the preprocess stage: the run waits for prediction. Idempotent; raises ServiceError("attempt_over")."""
    run, attempt = _attempt_in_hand(session, run_id, preprocessed.attempt, {"preprocessed"})
    if attempt is None:
        return
    if attempt.stage != PREPROCESS:
        raise ServiceError("attempt_over")
    values = {
        "preprocessed": preprocessed.model_dump(mode="json"),
        "series": preprocessed.series.model_dump(mode="json"),
        "quality": preprocessed.quality.model_dump(mode="json"),
        "provenance": preprocessed.provenance.model_dump(mode="json"),
        "source": None if preprocessed.source is None else preprocessed.source.model_dump(mode="json"),
        "pictures": None if preprocessed.pictures is None else preprocessed.pictures.model_dump(mode="json"),
        "tries": 0,
        "dispatched_at": None,
    }
    _end_attempt(session, run, attempt, RunStatus.PREPROCESSED, "preprocessed", values)


def store_outcome(session: Session, run_id: str, outcome: Outcome, leases: Leases) -> None:
    """End the run, or give it back to wait where a fault may pass. Idempotent; raises ServiceError("attempt_over")."""
    same: set[str] = {"failed", "retried"} if isinstance(outcome, Failed) else {outcome.outcome, "parked"}
    run, attempt = _attempt_in_hand(session, run_id, outcome.attempt, same)
    if attempt is None:
        return
    match outcome:
        case Completed():
            if attempt.stage != PREDICT:
                raise ServiceError("attempt_over")
            values = {"result": outcome.result.model_dump(mode="json")} | _reported(outcome)
            _end_attempt(session, run, attempt, RunStatus.COMPLETED, "completed", values)
        case Refused() if attempt.stage == PREPROCESS and may_still_get_t1(session, run, outcome):
            park_study(session, run.study_id)
            back: dict[str, Any] = {"tries": 0, "dispatched_at": None}
            _end_attempt(session, run, attempt, RunStatus.QUEUED, "parked", back, outcome.refusal.code)
        case Refused():
            values = {"refusal": outcome.refusal.model_dump(mode="json")} | _reported(outcome)
            _end_attempt(session, run, attempt, RunStatus.REFUSED, "refused", values, outcome.refusal.code)
        case Failed():
            _end_in_fault(session, run, attempt, outcome.failure, leases, charged=True, values=_reported(outcome))


def refuse_study(session: Session, study_id: str, refusal: Refusal) -> None:
    """End the waiting runs of a study that has no working copy to work on."""
    to, values = RunStatus.REFUSED, {"refusal": refusal.model_dump(mode="json")}
    if refusal.code == ORIGINAL_DAMAGED:
        failure = Failure(code=refusal.code, reason=refusal.reason, retryable=False)
        to, values = RunStatus.FAILED, {"failure": failure.model_dump(mode="json")}
    waiting = select(RunRow).where(RunRow.study_id == study_id, RunRow.status == RunStatus.QUEUED).with_for_update()
    for run in session.scalars(waiting).all():
        _move(session, run, to, values, refusal.code)


def lose_expired(session: Session, leases: Leases) -> list[str]:
    """Give runs whose lease has ended back to wait, or fail them when their tries are used up; their ids."""
    expired = (
        select(RunRow)
        .where(RunRow.status.in_(IN_WORK.values()), RunRow.lease_expires_at < db_now())
        .with_for_update(skip_locked=True)
    )
    lost = []
    for run in session.scalars(expired).all():
        attempt = session.get_one(AttemptRow, (run.id, run.attempt))
        _end_in_fault(session, run, attempt, WORKER_LOST, leases, charged=attempt.batch_size == 1, values={})
        lost.append(run.id)
    return lost


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
    here = (RunRow.id == run_id, RunRow.priority > rank, RunRow.status.not_in(TERMINAL))
    return _changed(session, here, {"priority": rank, "dispatched_at": None, "held": False})


def supersede(session: Session, study_id: str, successor: RunRow) -> None:
    """Let ``successor`` stand for the runs of ``study_id`` by its bundle; those that have not ended are cancelled."""
    current = (
        select(RunRow)
        .where(
            RunRow.study_id == study_id,
            RunRow.bundle_digest == successor.bundle_digest,
            RunRow.superseded_by.is_(None),
            RunRow.id != successor.id,
        )
        .with_for_update()
    )
    for run in session.scalars(current).all():
        if not RunStatus(run.status).is_terminal:
            in_hand = session.get(AttemptRow, (run.id, run.attempt)) if run.status in IN_WORK.values() else None
            if in_hand is None:
                _move(session, run, RunStatus.CANCELLED, {}, "superseded")
            else:
                _end_attempt(session, run, in_hand, RunStatus.CANCELLED, "superseded", {}, "superseded")
        run.superseded_by = successor.id
    session.flush()


# --- how a move is made ---


def _now(session: Session) -> float:
    return session.execute(select(db_now())).scalar_one()


def _locked(session: Session, run_id: str) -> RunRow | None:
    return session.scalars(select(RunRow).where(RunRow.id == run_id).with_for_update()).one_or_none()


def _changed(session: Session, here: tuple[ColumnElement[bool], ...], values: dict[str, Any]) -> bool:
    statement = update(RunRow).where(*here).values(**values).execution_options(synchronize_session=False)
    return session.connection().execute(statement).rowcount == 1


def _record(
    session: Session,
    run_id: str,
    at: float,
    status: RunStatus,
    attempt: int,
    stage: str | None = None,
    code: str | None = None,
) -> None:
    session.add(RunEventRow(run_id=run_id, at=at, status=status, stage=stage, attempt=attempt, code=code))
    session.flush()


def _move(session: Session, run: RunRow, to: RunStatus, values: dict[str, Any], code: str | None = None) -> None:
    """Compare-and-set from what ``run`` was read as. Raises ServiceError("attempt_over") when it has moved since."""
    now = _now(session)
    attempt = values.get("attempt", run.attempt)
    values = {"status": to, "stage": None, "lease_expires_at": None, "worker_id": None} | values
    if to.is_terminal:
        values |= {"finished_at": now, "alone": False}
    here = (RunRow.id == run.id, RunRow.status == run.status, RunRow.attempt == run.attempt)
    if not _changed(session, here, values):
        raise ServiceError("attempt_over")
    _record(session, run.id, now, to, attempt, code=code)
    if to in ANSWERS:
        session.add(OutboxRow(run_id=run.id, answered_at=now))
        session.flush()
    session.refresh(run)


def _claim(
    session: Session, run: RunRow, stage: str, worker: WorkerIdentity, batch_size: int, leases: Leases
) -> RunRow:
    now = _now(session)
    number = run.attempt + 1
    values = {
        "attempt": number,
        "worker_id": worker.worker_id,
        "lease_expires_at": now + leases.lease_s,
        "started_at": run.started_at or now,
    }
    _move(session, run, IN_WORK[stage], values)
    session.add(
        AttemptRow(
            run_id=run.id,
            number=number,
            stage=stage,
            worker_id=worker.worker_id,
            batch_size=batch_size,
            claimed_at=now,
        )
    )
    session.flush()
    return run


def _attempt_in_hand(session: Session, run_id: str, number: int, same: set[str]) -> tuple[RunRow, AttemptRow | None]:
    """Find the run and its newest attempt, if that is ``number`` and may still end; None when it has ended just so."""
    run = _locked(session, run_id)
    if run is None:
        raise ServiceError("unknown_run")
    attempt = session.get(AttemptRow, (run_id, number))
    if attempt is not None and attempt.ending in same:
        return run, None
    expected = None if attempt is None else {None: IN_WORK, "lost": WAITING}.get(attempt.ending)
    if attempt is None or run.attempt != number or expected is None or run.status != expected[attempt.stage]:
        raise ServiceError("attempt_over")
    return run, attempt


def _end_attempt(
    session: Session,
    run: RunRow,
    attempt: AttemptRow,
    to: RunStatus,
    ending: str,
    values: dict[str, Any],
    code: str | None = None,
) -> None:
    _move(session, run, to, values, code)
    attempt.ending = ending
    attempt.ended_at = _now(session)
    session.flush()


def _end_in_fault(
    session: Session,
    run: RunRow,
    attempt: AttemptRow,
    failure: Failure,
    leases: Leases,
    *,
    charged: bool,
    values: dict[str, Any],
) -> None:
    """Back to wait while the fault may pass and tries are left; a batch that is lost only charges who is alone."""
    lost = failure is WORKER_LOST
    passing = failure.code in OUR_SURROUNDINGS
    charged = charged and not passing
    late = attempt.ending == "lost"  # charged already
    tries = run.tries + (1 if charged and not late else 0)
    if not failure.retryable or tries >= leases.max_tries:
        values = values | {"failure": failure.model_dump(mode="json"), "tries": tries}
        _end_attempt(session, run, attempt, RunStatus.FAILED, "lost" if lost else "failed", values, failure.code)
        return
    back = {
        "tries": tries,
        "retries": run.retries + (0 if late else 1),
        "alone": run.alone or (attempt.batch_size > 1 and not passing),
        # Where the surroundings fail, trying again at once would fail again: as if sent now, it waits for its turn.
        "dispatched_at": db_now() if passing else None,
    }
    to = WAITING[attempt.stage]
    if attempt.stage == PREDICT and failure.code in TENSOR_GONE:
        to, back = RunStatus.QUEUED, back | {"preprocessed": None}
    _end_attempt(session, run, attempt, to, "lost" if lost else "retried", back, failure.code)


def _reported(outcome: Completed | Refused | Failed) -> dict[str, Any]:
    """What the outcome tells beside its answer, as far as it does: what is there already is not wiped."""
    names = ("series", "quality", "provenance", "source", "pictures")
    reported = {name: getattr(outcome, name, None) for name in names}
    return {name: value.model_dump(mode="json") for name, value in reported.items() if value is not None}
