"""When a cohort's night is: instants from wall-clock times, across changes of the clock."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from med3d_contract.cohorts import NightSchedule


@dataclass(frozen=True)
class Night:
    """One window: from ``opens_at`` to before ``closes_at``, both instants in UTC."""

    opens_at: datetime
    closes_at: datetime

    def holds(self, moment: datetime) -> bool:
        """Tell whether ``moment`` lies in it."""
        return self.opens_at <= moment < self.closes_at


def night_at(schedule: NightSchedule, moment: datetime) -> Night:
    """Return the night that ``moment`` lies in, else the next one.

    A window is a pair of instants and not "the clock shows more than 22:00": an hour that the clock shows twice would
    open a window again that had ended. A time that the clock skips (PEP 495, fold 0) stands for the same instant as
    with the offset from before the change; one that it shows twice for the first of the two.
    """
    zone = ZoneInfo(schedule.time_zone)
    today = moment.astimezone(zone).date()
    nights = (_night_of(schedule, zone, today + timedelta(days=days)) for days in (-1, 0, 1, 2))
    return next(night for night in nights if moment < night.closes_at and night.opens_at < night.closes_at)


def _night_of(schedule: NightSchedule, zone: ZoneInfo, evening: date) -> Night:
    morning = evening if schedule.start < schedule.end else evening + timedelta(days=1)
    return Night(_instant(evening, schedule.start, zone), _instant(morning, schedule.end, zone))


def _instant(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock, zone).astimezone(UTC)
