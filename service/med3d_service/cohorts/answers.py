"""The answers of a cohort's members by one bundle, for whoever looks at them one by one."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_service.cohorts.tables import CohortMemberRow, CohortRow
from med3d_service.runs.worklist import ListedRun, WorklistFilter, list_runs
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.trust.access import Caller


def list_answers(
    session: Session,
    vault: IdentifierVault,
    caller: Caller,
    cohort: CohortRow,
    bundle_digest: str,
    *,
    unjudged: bool,
    before: int | None,
    limit: int,
) -> list[ListedRun]:
    """List the members' runs that have an answer, newest first, from below ``before`` (a seq)."""
    wanted = WorklistFilter(
        answered=True,
        unjudged=unjudged,
        bundle=bundle_digest,
        studies=select(CohortMemberRow.study_id).where(CohortMemberRow.cohort_id == cohort.id),
    )
    return list_runs(session, vault, caller, wanted, before=before, limit=limit)
