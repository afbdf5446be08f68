"""How often people agreed with a model's answers, by what the model decided and what they said."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import Verdict
from med3d_service.storage.guard import is_genuine
from med3d_service.storage.tables import RunRow, StudyRow, VerdictRow
from med3d_service.trust.access import Caller

MOST = 2000
"""Verdicts that are read, the newest: enough for a share, and no page waits for more."""


def count_verdicts(session: Session, caller: Caller, bundle_digest: str) -> Mapping[tuple[str, Verdict], int]:
    """Count the verdicts that stand on a bundle's runs by (what the model decided, what a person said)."""
    found = session.execute(
        select(VerdictRow, RunRow.decision)
        .join(RunRow, RunRow.id == VerdictRow.run_id)
        .join(StudyRow, StudyRow.id == RunRow.study_id)
        .where(RunRow.bundle_digest == bundle_digest, caller.sees(StudyRow.site), VerdictRow.verdict != Verdict.COMMENT)
        .order_by(VerdictRow.given_at.desc(), VerdictRow.seq.desc())
        .limit(MOST)
    )
    counts: Counter[tuple[str, Verdict]] = Counter()
    seen: set[str] = set()
    for row, decision in found:
        if row.run_id not in seen and is_genuine(session, row):
            seen.add(row.run_id)
            counts[decision or "refused", Verdict(row.verdict)] += 1
    return counts
