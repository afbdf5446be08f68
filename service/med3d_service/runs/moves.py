"""How a run moves: a compare-and-set on status and attempt with its run_event, for one run or for many at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, insert, select, tuple_, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from med3d_contract.results import RunStatus
from med3d_service.problems import ServiceError
from med3d_service.runs.states import RUN_MOVES, AttemptEnding
from med3d_service.storage.tables import AttemptRow, OutboxRow, RunEventRow, RunRow

ANSWERS = frozenset({RunStatus.COMPLETED, RunStatus.REFUSED})


@dataclass(frozen=True, eq=False)
class Move:
    """Where ``run``, as it was read, shall go. ``values`` are further columns; ``code`` says why, in the event."""

    run: RunRow
    to: RunStatus
    values: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None


def make_moves(session: Session, moves: Sequence[Move], now: float) -> None:
    """Make all moves or none. Raises ServiceError("attempt_over") where a run is no longer what it was read as.

    Raises AssertionError for a move that states.RUN_MOVES does not know: that is a fault of ours.

    One statement for all that write the same columns and one for their events: of many, a run costs a fraction of
    what it would cost alone.
    """
    for move in moves:
        assert move.to in RUN_MOVES[RunStatus(move.run.status)], f"no run goes from {move.run.status} to {move.to}"
    compare_and_set(session, [(move.run, _written(move, now)) for move in moves])
    record_events(session, [(move.run, now, move.to, move.code) for move in moves])
    answered = [{"run_id": move.run.id, "answered_at": now} for move in moves if move.to in ANSWERS]
    if answered:
        session.execute(insert(OutboxRow), answered)


def compare_and_set(session: Session, changes: Sequence[tuple[RunRow, Mapping[str, Any]]]) -> None:
    """Write columns of runs that still have the status and attempt that they were read with.

    Raises ServiceError("attempt_over") where one has not.
    """
    by_columns: dict[frozenset[str], list[dict[str, Any]]] = {}
    for run, values in changes:
        here = {"here_id": run.id, "here_status": run.status, "here_attempt": run.attempt}
        by_columns.setdefault(frozenset(values), []).append({**values, **here})
    for columns, rows in by_columns.items():
        statement = (
            update(RunRow.__table__)  # type: ignore[arg-type]
            .where(
                RunRow.id == bindparam("here_id"),
                RunRow.status == bindparam("here_status"),
                RunRow.attempt == bindparam("here_attempt"),
            )
            .values({name: bindparam(name) for name in sorted(columns)})
        )
        if session.connection().execute(statement, rows).rowcount != len(rows):
            raise ServiceError("attempt_over")
    for run, values in changes:
        for name, value in values.items():
            set_committed_value(run, name, value)


def _written(move: Move, now: float) -> dict[str, Any]:
    values: dict[str, Any] = {"status": move.to, "stage": None, "lease_expires_at": None, "worker_id": None}
    values |= move.values
    if move.to.is_terminal:
        values |= {"finished_at": now, "alone": False}
    return values


def record_events(session: Session, events: Sequence[tuple[RunRow, float, RunStatus, str | None]]) -> None:
    """Write down what happened to runs, as they are now."""
    if not events:
        return
    session.execute(
        insert(RunEventRow),
        [
            {"run_id": run.id, "at": at, "status": to, "stage": run.stage, "attempt": run.attempt, "code": code}
            for run, at, to, code in events
        ],
    )


def attempts_of(session: Session, numbers: Mapping[str, int]) -> dict[str, AttemptRow]:
    """Return the attempts with these numbers, by run; absent where there is none."""
    wanted = tuple_(AttemptRow.run_id, AttemptRow.number).in_(list(numbers.items()))
    return {attempt.run_id: attempt for attempt in session.scalars(select(AttemptRow).where(wanted))}


def start_attempts(session: Session, runs: Sequence[RunRow], stage: str, worker_id: str, now: float) -> None:
    """Write down who holds the newest attempts of ``runs``, taken together."""
    session.execute(
        insert(AttemptRow),
        [
            {
                "run_id": run.id,
                "number": run.attempt,
                "stage": stage,
                "worker_id": worker_id,
                "batch_size": len(runs),
                "claimed_at": now,
            }
            for run in runs
        ],
    )


def note_heard(session: Session, attempts: Sequence[AttemptRow], now: float) -> None:
    """Write down that the holders of ``attempts`` know of them, where that is new."""
    new = [{"here_id": one.run_id, "here_number": one.number} for one in attempts if one.heard_at is None]
    if not new:
        return
    table = AttemptRow.__table__
    here = table.c.run_id == bindparam("here_id"), table.c.number == bindparam("here_number")
    session.connection().execute(update(table).where(*here).values(heard_at=now), new)  # type: ignore[arg-type]
    for attempt in attempts:
        set_committed_value(attempt, "heard_at", attempt.heard_at or now)


def end_attempts(session: Session, endings: Sequence[tuple[AttemptRow, AttemptEnding]], now: float) -> None:
    """Write down how attempts ended that have ended no otherwise since they were read.

    Raises ServiceError("attempt_over") where one has.
    """
    statement = (
        update(AttemptRow.__table__)  # type: ignore[arg-type]
        .where(
            AttemptRow.run_id == bindparam("here_id"),
            AttemptRow.number == bindparam("here_number"),
            AttemptRow.ending.is_not_distinct_from(bindparam("here_ending")),
        )
        .values(ending=bindparam("how"), ended_at=now)
    )
    rows = [
        {"here_id": attempt.run_id, "here_number": attempt.number, "here_ending": attempt.ending, "how": how}
        for attempt, how in endings
    ]
    if rows and session.connection().execute(statement, rows).rowcount != len(rows):
        raise ServiceError("attempt_over")
    for attempt, how in endings:
        set_committed_value(attempt, "ending", how)
        set_committed_value(attempt, "ended_at", now)
