"""Whose runs a caller may see or, as a worker, touch: a key of one site has that site's, whatever ids it names."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from med3d_service.problems import ServiceError
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Caller


def is_seen_run(caller: Caller) -> ColumnElement[bool]:
    """Give the condition that the caller sees the run of a row.

    A condition and no join: a database would else begin with all studies of a site, to sort or count a few runs.
    """
    return select(StudyRow.id).where(StudyRow.id == RunRow.study_id, caller.sees(StudyRow.site)).exists()


def find_run(session: Session, caller: Caller, run_id: str) -> RunRow:
    """Find a run that the caller sees. Raises ServiceError("unknown_run") for another site's, too."""
    seen = select(RunRow).join(StudyRow, StudyRow.id == RunRow.study_id)
    run = session.scalars(seen.where(RunRow.id == run_id, caller.sees(StudyRow.site))).first()
    if run is None:
        raise ServiceError("unknown_run")
    return run


def select_own_runs(session: Session, caller: Caller, run_ids: Collection[str]) -> set[str]:
    """Return those of ``run_ids`` that this caller may touch. Of one site that is also none that does not exist."""
    if caller.every_site:
        return set(run_ids)
    joined = select(RunRow.id).join(StudyRow, StudyRow.id == RunRow.study_id)
    return set(session.scalars(joined.where(RunRow.id.in_(run_ids), caller.sees(StudyRow.site))))


def require_own_run(session: Session, caller: Caller, run_id: str) -> None:
    """Raise ServiceError("unknown_run") for another site's run, as for one that does not exist."""
    if run_id not in select_own_runs(session, caller, [run_id]):
        raise ServiceError("unknown_run")
