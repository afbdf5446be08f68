"""On an examination day series arrive minutes apart: a run without a usable T1 goes back to wait for one."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.work import Refused
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.copy_states import CopyStatus, move_copy
from med3d_service.storage.database import db_now
from med3d_service.storage.tables import RunRow


def may_still_get_t1(session: Session, run: RunRow, outcome: Refused) -> bool:
    """Tell whether no series was usable, and the study arrives by itself and may still get one."""
    series = outcome.findings.series
    if run.chosen_series or (series is not None and series.chosen is not None):
        return False
    waits = select(ArrivalRow.id).where(
        ArrivalRow.study_id == run.study_id, ArrivalRow.final_at.is_(None), ArrivalRow.wait_until > db_now()
    )
    return session.scalars(waits).first() is not None


def park_study(session: Session, study_id: str) -> None:
    """Hold the study's runs back until more has come or the wait is over (see studies.arrivals.clock)."""
    move_copy(session, study_id, {CopyStatus.READY}, CopyStatus.PARKED)


def unpark_study(session: Session, study_id: str) -> None:
    """Let the runs of a parked study go as they are."""
    move_copy(session, study_id, {CopyStatus.PARKED}, CopyStatus.READY)
