"""How runs come to be: they are inserted where their first stage waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import Priority, RunStatus
from med3d_service.runs.moves import record_events
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import RunRow


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
    now = now_of(session)
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
    record_events(session, [(run, now, RunStatus(run.status), new.code) for run, new in zip(runs, wanted, strict=True)])
    return runs
