"""How attempts end, and what that makes of their runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import Failure, RunStatus
from med3d_contract.work import OUR_SURROUNDINGS, ActiveAttempt, Completed, Failed, Outcome, Preprocessed, Refused
from med3d_service.runs.moves import Move, attempts_of, end_attempts, make_moves
from med3d_service.runs.parking import may_still_get_t1, park_study
from med3d_service.runs.states import AttemptEnding
from med3d_service.settings import Settings
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import AttemptRow, RunRow

PREPROCESS, PREDICT = "preprocess", "predict"
WAITING = {PREPROCESS: RunStatus.QUEUED, PREDICT: RunStatus.PREPROCESSED}
IN_WORK = {PREPROCESS: RunStatus.PREPROCESSING, PREDICT: RunStatus.PREDICTING}
TENSOR_GONE = frozenset({"object_missing", "object_damaged"})
"""Faults of the predict stage that only preprocessing can mend: it makes the tensor again."""
ORIGINAL_DAMAGED = "original_damaged"
"""Why a study may have no working copy through a fault of the store's: its runs have failed, and were not refused."""
WORKER_LOST = Failure(
    code="worker_lost",
    reason="The worker was lost each time that it worked on this run; its log tells why.",
    retryable=True,
)

UNHEARD = "claim_unheard"
"""Why a run waits again whose claim nobody was heard of: its answer was lost, and no work was begun."""


@dataclass(frozen=True)
class Leases:
    """How long a silent worker keeps its stage, and how many tries a stage has."""

    lease_s: float
    max_tries: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make it as the settings say."""
        return cls(lease_s=settings.lease_s, max_tries=settings.max_tries)


@dataclass(frozen=True, eq=False)
class Ending:
    """How an attempt ends, and where that moves its run."""

    attempt: AttemptRow
    move: Move
    how: AttemptEnding


def lock_with_attempts(session: Session, numbers: Mapping[str, int]) -> dict[str, tuple[RunRow, AttemptRow]]:
    """Find runs, locked, with the attempts of these numbers; those that have no such attempt are left out."""
    runs = session.scalars(
        select(RunRow).where(RunRow.id.in_(list(numbers))).order_by(RunRow.seq).with_for_update()
    ).all()
    attempts = attempts_of(session, numbers)  # only now: nobody changes them while the runs are locked
    return {run.id: (run, attempts[run.id]) for run in runs if run.id in attempts}


def lock_active(session: Session, held: Sequence[ActiveAttempt]) -> tuple[list[RunRow], dict[str, AttemptRow]]:
    """Find the runs that are in work by these attempts, locked, and the attempts by run."""
    found = lock_with_attempts(session, {one.run_id: one.attempt for one in held})
    runs = [run for run, attempt in found.values() if run.attempt == attempt.number and run.status in IN_WORK.values()]
    return runs, {run.id: found[run.id][1] for run in runs}


def may_end(run: RunRow, attempt: AttemptRow) -> bool:
    """Tell whether an attempt may still end: it is the newest, and in hand, or was lost and nobody has begun since."""
    if attempt.ending not in {None, AttemptEnding.LOST}:
        return False
    expected = IN_WORK if attempt.ending is None else WAITING
    return run.attempt == attempt.number and run.status == expected[attempt.stage]


def end_all(session: Session, endings: Sequence[Ending]) -> None:
    """End attempts and move their runs, all or none. Raises ServiceError("attempt_over")."""
    now = now_of(session)
    make_moves(session, [ending.move for ending in endings], now)
    end_attempts(session, [(ending.attempt, ending.how) for ending in endings], now)


def ending_for_silence(run: RunRow, attempt: AttemptRow, leases: Leases, now: float) -> Ending:
    """Return what a lease's end makes of its run: a charge only where its holder knew that it had the run.

    A batch that was lost charges nobody, since it is not known which of its runs it was.
    """
    if attempt.heard_at is None:
        return Ending(attempt, Move(run, WAITING[attempt.stage], {"dispatched_at": None}, UNHEARD), AttemptEnding.LOST)
    return ending_for_failure(run, attempt, WORKER_LOST, leases, now, charged=attempt.batch_size == 1, values={})


def ending_for_failure(
    run: RunRow,
    attempt: AttemptRow,
    failure: Failure,
    leases: Leases,
    now: float,
    *,
    charged: bool,
    values: dict[str, Any],
) -> Ending:
    """Send a run back to wait while the fault may pass and tries are left; a lost batch only charges who is alone."""
    lost = failure is WORKER_LOST
    passing = failure.code in OUR_SURROUNDINGS
    charged = charged and not passing
    late = attempt.ending == AttemptEnding.LOST and attempt.heard_at is not None  # charged already
    tries = run.tries + (1 if charged and not late else 0)
    if not failure.retryable or tries >= leases.max_tries:
        values = values | {"failure": failure.model_dump(mode="json"), "tries": tries}
        return Ending(
            attempt,
            Move(run, RunStatus.FAILED, values, failure.code),
            AttemptEnding.LOST if lost else AttemptEnding.FAILED,
        )
    back: dict[str, Any] = {
        "tries": tries,
        "retries": run.retries + (0 if late else 1),
        "alone": run.alone or (attempt.batch_size > 1 and not passing),
        # Where the surroundings fail, trying again at once would fail again: as if sent now, it waits for its turn.
        "dispatched_at": now if passing else None,
    }
    to = WAITING[attempt.stage]
    if attempt.stage == PREDICT and failure.code in TENSOR_GONE:
        to, back = RunStatus.QUEUED, back | {"preprocessed": None}
    return Ending(attempt, Move(run, to, back, failure.code), AttemptEnding.LOST if lost else AttemptEnding.RETRIED)


def columns_after_preprocessing(preprocessed: Preprocessed) -> dict[str, Any]:
    """Return the columns of a run that preprocessing fills."""
    whole = preprocessed.model_dump(mode="json")
    findings = preprocessed.findings.model_dump(mode="json")
    return {"preprocessed": whole, "tries": 0, "dispatched_at": None} | findings


def ending_for_outcome(
    session: Session, run: RunRow, attempt: AttemptRow, outcome: Outcome, leases: Leases
) -> Ending | None:
    """Return what an outcome makes of its run; None where its stage cannot bring such a thing."""
    match outcome:
        case Completed() if attempt.stage == PREDICT:
            answer = {"result": outcome.result.model_dump(mode="json"), "decision": outcome.result.assessment.decision}
            values = answer | _reported(outcome)
            return Ending(attempt, Move(run, RunStatus.COMPLETED, values), AttemptEnding.COMPLETED)
        case Completed():
            return None
        case Refused() if attempt.stage == PREPROCESS and may_still_get_t1(session, run, outcome):
            park_study(session, run.study_id)
            back = {"tries": 0, "dispatched_at": None}
            return Ending(attempt, Move(run, RunStatus.QUEUED, back, outcome.refusal.code), AttemptEnding.PARKED)
        case Refused():
            values = {"refusal": outcome.refusal.model_dump(mode="json")} | _reported(outcome)
            return Ending(attempt, Move(run, RunStatus.REFUSED, values, outcome.refusal.code), AttemptEnding.REFUSED)
        case Failed():
            return ending_for_failure(
                run, attempt, outcome.failure, leases, now_of(session), charged=True, values=_reported(outcome)
            )


def _reported(outcome: Completed | Refused | Failed) -> dict[str, Any]:
    """Return what the outcome tells beside its answer, as far as it does: what is there already is not wiped."""
    told = outcome.findings.model_dump(mode="json")
    return {name: value for name, value in told.items() if value is not None}
