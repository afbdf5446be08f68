"""A member whose patient was corrected at the PACS: the study that holds its images now takes its place."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from med3d_service.cohorts.tables import CohortMemberRow, ScanFactsRow
from med3d_service.storage.database import Database
from med3d_service.storage.tables import StudyRow


def follow_corrections(database: Database) -> int:
    """Let cohorts have the study that took a withdrawn one's place; how many members were replaced."""
    with database.read() as session:  # most sweeps find nothing and need no lock
        if not _withdrawn(session):
            return 0
    with database.write() as session:
        withdrawn = _withdrawn(session)
        for member, successor in withdrawn:
            _follow(session, member, successor)
    return len(withdrawn)


def _withdrawn(session: Session) -> list[tuple[CohortMemberRow, str]]:
    """Return the members whose study was withdrawn, each with the study that holds the images now."""
    query = (
        select(CohortMemberRow, StudyRow.corrected_by)
        .join(StudyRow, StudyRow.id == CohortMemberRow.study_id)
        .where(StudyRow.corrected_by.is_not(None))
        .order_by(CohortMemberRow.cohort_id, CohortMemberRow.study_id)
    )
    return [(member, str(successor)) for member, successor in session.execute(query).all()]


def _follow(session: Session, member: CohortMemberRow, successor: str) -> None:
    """Hand on what a manifest has said of the scan, unless the successor has facts of its own."""
    key = {"cohort_id": member.cohort_id, "study_id": successor}
    if session.get(CohortMemberRow, key) is None:
        session.add(CohortMemberRow(**key, added_at=member.added_at))
    told = session.get(ScanFactsRow, member.study_id)
    if told is not None and session.get(ScanFactsRow, successor) is None:
        facts = {name: getattr(told, name) for name in ("visit", "scan_site", "scanner", "sdmt")}
        session.add(ScanFactsRow(study_id=successor, **facts))
    this_one = CohortMemberRow.cohort_id == member.cohort_id, CohortMemberRow.study_id == member.study_id
    session.execute(delete(CohortMemberRow).where(*this_one))
    session.flush()
