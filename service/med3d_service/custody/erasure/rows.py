"""Which rows belong to studies: found by following foreign keys, so that a table that is new is never forgotten."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Table, delete, false, or_, select
from sqlalchemy.orm import Session, aliased

from med3d_service.cohorts import tables as cohort_tables  # noqa: F401 - so that Base knows all that refer to studies
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.tables import Base, InstanceRow, RunRow, StudyRow, UploadRow

STUDIES: Table = Base.metadata.tables["studies"]


def versions_of(session: Session, study_id: str) -> set[str]:
    """Return the study with all that share its instances, or whose run stands for one of its own.

    They are versions of one study as it arrived, which cannot go by halves.
    """
    found, unseen = {study_id}, {study_id}
    while unseen:
        near = set(
            session.scalars(
                select(UploadRow.study_id)
                .join(InstanceRow, InstanceRow.upload_id == UploadRow.id)
                .where(InstanceRow.study_id.in_(unseen))
                .union(
                    select(InstanceRow.study_id)
                    .join(UploadRow, InstanceRow.upload_id == UploadRow.id)
                    .where(UploadRow.study_id.in_(unseen))
                )
            )
        )
        for arrival in session.scalars(
            select(ArrivalRow).where(or_(ArrivalRow.study_id.in_(unseen), ArrivalRow.late_study_id.in_(unseen)))
        ):
            near |= {one for one in (arrival.study_id, arrival.late_study_id) if one is not None}
        near |= _linked_by_runs(session, unseen)
        unseen = near - found
        found |= unseen
    return found


def _linked_by_runs(session: Session, study_ids: Collection[str]) -> set[str]:
    """Return studies with a run that supersedes, or is superseded by, one of these studies' runs."""
    earlier, later = aliased(RunRow), aliased(RunRow)
    pairs = select(earlier.study_id, later.study_id).where(
        earlier.superseded_by == later.id, or_(earlier.study_id.in_(study_ids), later.study_id.in_(study_ids))
    )
    return {study_id for pair in session.execute(pairs) for study_id in pair}


def delete_rows(session: Session, study_ids: Collection[str]) -> None:
    """Delete the studies, and every row of any table that refers to them or to what refers to them."""
    for table in reversed(Base.metadata.sorted_tables):
        session.execute(delete(table).where(_belongs(table, study_ids)).execution_options(synchronize_session=False))
    session.expire_all()


def _belongs(table: Table, study_ids: Collection[str]) -> ColumnElement[bool]:
    if table is STUDIES:
        return StudyRow.id.in_(study_ids)
    return or_(
        false(),
        *(
            foreign.parent.in_(select(foreign.column).where(_belongs(foreign.column.table, study_ids)))
            for foreign in table.foreign_keys
            if _leads_to_studies(foreign.column.table, frozenset({table}))
        ),
    )


def _leads_to_studies(table: Table, seen: frozenset[Table]) -> bool:
    """Tell whether rows of ``table`` belong to a study; a table that refers to itself is followed once."""
    if table in seen:
        return False
    seen |= {table}
    return table is STUDIES or any(_leads_to_studies(foreign.column.table, seen) for foreign in table.foreign_keys)
