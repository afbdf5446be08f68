"""The scheduler's part in cohorts: nights begin and end by the clock, and what is under way is fed.

Each sweep looks at what the clock and the database say now. A service that was down at 22:00 begins when it comes up,
and one that was down at 06:00 rests then: nothing hangs on a moment at which somebody had to be awake.
"""

from datetime import UTC, datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.cohorts import NightSchedule, ReprocessingStatus
from med3d_service.cohorts import reprocessing
from med3d_service.cohorts.members import count_members, join_by_filter
from med3d_service.cohorts.night import Night, night_at
from med3d_service.cohorts.tables import CohortRow, ReprocessingRow
from med3d_service.problems import ServiceError
from med3d_service.runs.bundles import find_bundle_for_run
from med3d_service.runs.queueing.holding import hold
from med3d_service.storage.database import Database
from med3d_service.storage.tables import BundleRow

log = structlog.get_logger()
RESTING = (ReprocessingStatus.WAITING, ReprocessingStatus.PAUSED)


def tend_cohorts(database: Database, ahead: int, now: datetime | None = None) -> int:
    """Begin, rest, go on and feed what is due; how many runs were made. ``now``: the database's time where left out."""
    moment = now or datetime.fromtimestamp(database.now(), UTC)
    with database.read() as session:  # most sweeps find nothing and need no lock
        scheduled = session.scalars(select(CohortRow.id).where(CohortRow.schedule.is_not(None))).all()
        open_ones = session.scalars(select(ReprocessingRow.cohort_id).where(ReprocessingRow.ended_at.is_(None))).all()
    return sum(_tend(database, cohort_id, moment, ahead) for cohort_id in sorted({*scheduled, *open_ones}))


def _tend(database: Database, cohort_id: str, now: datetime, ahead: int) -> int:
    with database.write() as session:
        cohort = session.scalars(select(CohortRow).where(CohortRow.id == cohort_id).with_for_update()).one()
        night = _night(cohort, now)
        if night is not None and night.holds(now):
            _begin_night(session, cohort, night)
        row = reprocessing.under_way(session, cohort_id)
        if row is None or _lost_its_bundle(session, cohort, row):
            return 0
        _obey_window(session, row, night, now)
        if row.status in RESTING:
            hold(session, row.id)  # what came back to wait since
            return 0
        return reprocessing.feed(session, row, ahead)


def _lost_its_bundle(session: Session, cohort: CohortRow, row: ReprocessingRow) -> bool:
    """Tell whether the bundle was removed meanwhile; then it ends here, and people see why."""
    if session.get(BundleRow, row.bundle_digest) is not None:
        return False
    reprocessing.cancel(session, row)
    cohort.night_fault = "unknown_bundle"
    log.warning("bundle_removed", cohort_id=cohort.id, bundle=row.bundle_digest[:12])
    return True


def _night(cohort: CohortRow, now: datetime) -> Night | None:
    return None if cohort.schedule is None else night_at(NightSchedule.model_validate(cohort.schedule), now)


def _begin_night(session: Session, cohort: CohortRow, night: Night) -> None:
    """Let, once a night, new studies join, and begin, or go on with the last one while its bundle is still wanted.

    A cohort made by night begins with its first member: people make one and then fill it.
    """
    opened_at = night.opens_at.timestamp()
    if cohort.night_begun_at is not None and cohort.night_begun_at >= opened_at:
        return
    joined = join_by_filter(session, cohort)
    if count_members(session, cohort.id)[0] == 0:
        return
    cohort.night_begun_at = opened_at
    row = reprocessing.under_way(session, cohort.id)
    try:
        bundle = find_bundle_for_run(session, cohort.bundle)
        cohort.night_fault = None
        if row is not None and row.in_window and row.bundle_digest != bundle.digest:
            reprocessing.cancel(session, row)
            row = None
        if row is None:
            reprocessing.begin(session, cohort, bundle, in_window=True)
        log.info("night_begun", cohort_id=cohort.id, joined=joined, bundle=bundle.digest[:12])
    except ServiceError as error:
        cohort.night_fault = error.code  # its bundle has gone: people see it with the cohort
        log.warning("night_not_begun", cohort_id=cohort.id, code=error.code)


def _obey_window(session: Session, row: ReprocessingRow, night: Night | None, now: datetime) -> None:
    """Count those that keep to the window. Without a schedule there is none, and what has begun is finished."""
    if not row.in_window or row.status == ReprocessingStatus.PAUSED:
        return
    is_open = night is None or night.holds(now)
    if is_open and row.status == ReprocessingStatus.WAITING:
        reprocessing.go_on(session, row)
    elif not is_open and row.status == ReprocessingStatus.RUNNING:
        reprocessing.rest(session, row, ReprocessingStatus.WAITING)
