"""One run in the place of others: those that have not ended are cancelled, those that have stay, linked."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from med3d_contract.results import RunStatus
from med3d_service.runs.endings import IN_WORK
from med3d_service.runs.moves import Move, attempts_of, end_attempts, make_moves
from med3d_service.runs.states import AttemptEnding
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import RunRow


def supersede(session: Session, study_id: str, successor: RunRow) -> None:
    """Let ``successor`` stand for the runs of ``study_id`` by its bundle."""
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
    _replace(session, session.scalars(current).all(), successor.id)


def withdraw(session: Session, study_id: str, successor: RunRow) -> None:
    """Let ``successor`` stand for all runs of ``study_id``, of whatever bundle; nothing of these goes out any more."""
    current = (
        select(RunRow)
        .where(RunRow.study_id == study_id, RunRow.superseded_by.is_(None), RunRow.id != successor.id)
        .with_for_update()
    )
    _replace(session, session.scalars(current).all(), successor.id)
    session.execute(
        update(RunRow)
        .where(RunRow.study_id == study_id, RunRow.id != successor.id, RunRow.withdrawn_at.is_(None))
        .values(withdrawn_at=now_of(session))
        .execution_options(synchronize_session=False)
    )


def withdraw_run(session: Session, run: RunRow, successor_id: str | None) -> None:
    """Let nothing of ``run`` go out any more; a run by the id ``successor_id``, which follows, stands for it."""
    _replace(session, [run], successor_id)
    run.withdrawn_at = now_of(session)
    session.flush()


def _replace(session: Session, runs: Sequence[RunRow], successor_id: str | None) -> None:
    open_still = [run for run in runs if not RunStatus(run.status).is_terminal]
    in_work = {run.id: run.attempt for run in open_still if run.status in IN_WORK.values()}
    attempts = attempts_of(session, in_work) if in_work else {}
    now = now_of(session)
    make_moves(session, [Move(run, RunStatus.CANCELLED, code="superseded") for run in open_still], now)
    end_attempts(session, [(attempt, AttemptEnding.SUPERSEDED) for attempt in attempts.values()], now)
    for run in runs:
        run.superseded_by = successor_id
    session.flush()
