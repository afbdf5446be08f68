"""What has been kept long enough. Nothing is due of a study that has no answer, or that is being worked on."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, true
from sqlalchemy.orm import Session

from med3d_contract.results import TERMINAL, RunStatus
from med3d_service.custody.erasure.rows import versions_of
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.tables import RunRow, StudyRow, UploadRow
from med3d_service.trust.audit.tables import AuditRow

ENDED_AT = func.coalesce(RunRow.finished_at, RunRow.created_at)


def due_studies(before: float, *, with_input: bool = False) -> ColumnElement[bool]:
    """Return studies whose runs all ended before, at least one of theirs or of the version that they came too late for.

    And of which nothing has come since.
    """
    held = and_(StudyRow.input_removed_at.is_(None), exists().where(UploadRow.study_id == StudyRow.id))
    late = and_(ArrivalRow.late_study_id == StudyRow.id, RunRow.study_id == ArrivalRow.study_id)
    answered = or_(exists().where(RunRow.study_id == StudyRow.id), exists().where(late))
    return and_(held if with_input else true(), answered, _quiet_since(before))


def due_versions(session: Session, study_id: str, before: float) -> Collection[str]:
    """Return the study with the versions that share its images, where all are due; else nothing."""
    versions = versions_of(session, study_id)
    quiet = select(func.count()).select_from(StudyRow).where(StudyRow.id.in_(versions), _quiet_since(before))
    return sorted(versions) if session.execute(quiet).scalar_one() == len(versions) else ()


def due_tensors(before: float) -> ColumnElement[bool]:
    """Select runs whose tensor was kept long enough; the cache knows content, so another run may still hold it."""
    return and_(RunRow.preprocessed.is_not(None), RunRow.tensor_removed_at.is_(None), _ended(before))


def due_latents(before: float) -> ColumnElement[bool]:
    """Select completed runs that still hold their latent."""
    held = RunRow.result["latent"]["dimension"].as_integer().is_not(None)
    return and_(RunRow.status == RunStatus.COMPLETED, held, _ended(before))


def due_entries(before: float) -> ColumnElement[bool]:
    """Count entries of the audit trail."""
    return AuditRow.at < before


def _ended(before: float) -> ColumnElement[bool]:
    return and_(RunRow.status.in_(TERMINAL), before > ENDED_AT)


def _quiet_since(before: float) -> ColumnElement[bool]:
    lively = or_(RunRow.status.not_in(TERMINAL), before <= ENDED_AT)
    arrives = and_(
        or_(ArrivalRow.study_id == StudyRow.id, ArrivalRow.late_study_id == StudyRow.id), ArrivalRow.last_at >= before
    )
    return and_(
        StudyRow.created_at < before,
        StudyRow.working_status != CopyStatus.COPYING,
        ~exists().where(RunRow.study_id == StudyRow.id, lively),
        ~exists().where(arrives),
    )
