"""The SRs of a run: the first one, and one for each verdict of a person that decides; each is an object of its own."""

import hashlib
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_service.results.kinds import Kind
from med3d_service.results.reports.lineage import answers_before
from med3d_service.runs.verdicts import deciding_verdicts
from med3d_service.storage.tables import ReportRow
from med3d_service.studies.own_objects import own_uid


def sr_name(verdict_id: str | None) -> str:
    """Name the SR that says this verdict; its UIDs and its place in the store follow from run and name."""
    return Kind.SR if verdict_id is None else f"{Kind.SR}-{hashlib.sha256(verdict_id.encode()).hexdigest()[:12]}"


def sr_uid(session: Session, run_id: str) -> str:
    """Return SOP Instance UID of the SR of a run as its answer stands now."""
    return own_uid(run_id, names_of(session, run_id)[0])


def names_of(session: Session, run_id: str) -> Sequence[str]:
    """Name all SRs that a run may have, the one that stands now first."""
    return [*map(sr_name, deciding_verdicts(session, run_id)), sr_name(None)]


def replaced_sr(session: Session, run_id: str) -> tuple[str, str] | None:
    """Find the SR in whose place the one that stands now goes: run and name. None where it is the first.

    Of this run the latest that was made: of verdicts that followed one another nobody may have been told. Else that of
    the answer before.
    """
    _, *earlier = names_of(session, run_id)
    made = _made(session, run_id, earlier)
    if made is not None:
        return run_id, made
    before = answers_before(session, run_id)
    if not before:
        return None
    names = names_of(session, before[0].id)
    return before[0].id, _made(session, before[0].id, names) or sr_name(None)


def _made(session: Session, run_id: str, names: Sequence[str]) -> str | None:
    """Return the first of these that there is."""
    query = select(ReportRow.kind).where(ReportRow.run_id == run_id, ReportRow.kind.in_(names))
    there = set(session.scalars(query))
    return next((name for name in names if name in there), None)
