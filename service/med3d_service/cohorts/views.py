"""How a cohort is shown."""

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from med3d_contract.cohorts import CohortView, MemberFilter, NightSchedule
from med3d_service.cohorts.members import count_members
from med3d_service.cohorts.night import night_at
from med3d_service.cohorts.tables import CohortRow
from med3d_service.runs.views import moment
from med3d_service.storage.database import now_of


def schedule_of(cohort: CohortRow) -> NightSchedule | None:
    """Return the cohort's schedule, if it has one."""
    return None if cohort.schedule is None else NightSchedule.model_validate(cohort.schedule)


def cohort_view(session: Session, cohort: CohortRow) -> CohortView:
    """Show a cohort as it stands."""
    members, subjects = count_members(session, cohort.id)
    schedule = schedule_of(cohort)
    now = datetime.fromtimestamp(now_of(session), UTC)
    return CohortView(
        cohort_id=cohort.id,
        name=cohort.name,
        bundle=cohort.bundle,
        schedule=schedule,
        member_filter=None if cohort.member_filter is None else MemberFilter.model_validate(cohort.member_filter),
        members=members,
        subjects=subjects,
        created_at=moment(cohort.created_at),
        next_night=None if schedule is None else night_at(schedule, now).opens_at,
        fault=cohort.night_fault,
    )
