"""Runs that wait for a bundle which no live worker carries: they say so, and no longer once one does."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from med3d_contract.results import RunStatus
from med3d_service.storage.database import db_now, now_of
from med3d_service.storage.tables import RunEventRow, RunRow, WorkerRow

NO_WORKER_CARRIES_IT = "waiting for a worker that carries this bundle"
_WAITING = (RunStatus.QUEUED, RunStatus.PREPROCESSED)


def carried_bundles(session: Session, worker_silent_s: float) -> set[str]:
    """Return digests of the bundles of all workers heard of in the last ``worker_silent_s`` seconds."""
    alive = select(WorkerRow.bundles).where(WorkerRow.seen_at > db_now() - worker_silent_s)
    return {bundle["digest"] for bundles in session.scalars(alive) for bundle in bundles}


def note_stranded(session: Session, worker_silent_s: float) -> int:
    """Write the reason into the stage of each stranded run and take it off the others; how many became stranded.

    Without any live worker nobody is stranded: then readiness says what is missing.
    """
    carried = carried_bundles(session, worker_silent_s)
    waiting = RunRow.status.in_(_WAITING)
    freed = update(RunRow).where(waiting, RunRow.stage == NO_WORKER_CARRIES_IT, RunRow.bundle_digest.in_(carried))
    session.execute(freed.values(stage=None).execution_options(synchronize_session=False))
    if not carried:
        return 0
    stranded = (
        select(RunRow)
        .where(waiting, RunRow.stage.is_(None), RunRow.bundle_digest.not_in(carried))
        .with_for_update(skip_locked=True)
    )
    found = session.scalars(stranded).all()
    now = now_of(session)
    for run in found:
        run.stage = NO_WORKER_CARRIES_IT
        session.add(
            RunEventRow(run_id=run.id, at=now, status=run.status, stage=run.stage, attempt=run.attempt, code=None)
        )
    session.flush()
    return len(found)
