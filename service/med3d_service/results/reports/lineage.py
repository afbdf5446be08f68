"""Answers in a row, each in the place of the one before: late images, corrected patients."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import Result, RunStatus
from med3d_service.storage.tables import RunRow

ANSWERED = frozenset({RunStatus.COMPLETED, RunStatus.REFUSED})


def answers_before(session: Session, run_id: str) -> Sequence[RunRow]:
    """Read the answered runs in the chain of those that ``run_id`` supersedes, the nearest first."""
    found: list[RunRow] = []
    seen = {run_id}
    while True:
        older = session.scalars(
            select(RunRow).where(RunRow.superseded_by == run_id).order_by(RunRow.seq.desc())
        ).first()
        if older is None or older.id in seen:
            return found
        if older.status in ANSWERED:
            found.append(older)
        seen.add(older.id)
        run_id = older.id


def withdrawn_before(session: Session, run_id: str) -> Sequence[str]:
    """Return Ids of all runs that ``run_id`` stands for, in however many steps, and of which nothing goes out any more.

    One may stand for several: of other bundles, or of earlier versions of a study.
    """
    found, seen, waiting = list[str](), {run_id}, {run_id}
    while waiting:
        older = session.scalars(select(RunRow).where(RunRow.superseded_by.in_(waiting))).all()
        waiting = {one.id for one in older} - seen
        seen |= waiting
        found += [one.id for one in older if one.id in waiting and one.withdrawn_at is not None]
    return found


def handed_on(result: Result | None) -> Result | None:
    """Leave out what demonstration heads estimated: it never enters SR, PDF, FHIR, HL7 or webhook."""
    if result is None or result.sdmt is None or not result.sdmt.is_demonstration:
        return result
    return result.model_copy(update={"sdmt": None})


def estimates_in(stored: dict[str, Any] | None) -> frozenset[str]:
    """Name the estimates that a stored result hands on, as FHIR and HL7 know them."""
    return estimates_of(handed_on(None if stored is None else Result.model_validate(stored)))


def estimates_of(result: Result | None) -> frozenset[str]:
    """Return the same of a result that is handed on."""
    if result is None:
        return frozenset()
    age = result.brain_age
    found = {"gap": age.gap, "gap-corrected": age.gap_corrected, "sdmt": result.sdmt}
    return frozenset({"brain-age", *(name for name, estimate in found.items() if estimate is not None)})
