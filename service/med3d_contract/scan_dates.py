"""The days that headers write, as they are meant, and which of them is the day of the scan."""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

# What systems and de-identifiers write where a date is due and none is known (month and day may be missing, too).
_PLACEHOLDER_DATES = frozenset({(1899, 12, 30), (1899, 12, 31), (1900, 1, 1), (1901, 1, 1), (1911, 11, 11)})
_DATE = re.compile(r"(\d{4})(?:([-./]?)(\d{2})(?:\2(\d{2})(?:\d{2,6}(?:\.\d{1,6})?(?:[-+]\d{4})?)?)?)?", re.ASCII)
DATE_CHARACTERS = 10
"""1999.01.31, as old files write it."""
ALLOWED_APART = timedelta(days=366)
"""Between the dates of study and acquisition; more makes an age by either of them doubtful."""


class DatesBeside(NamedTuple):
    """What else of a DICOM header dates the scan, as it is written there, where StudyDate was taken out.

    acquisition: AcquisitionDate, else AcquisitionDateTime.
    """

    acquisition: str = ""
    series: str = ""
    content: str = ""

    @classmethod
    def written(
        cls, acquisition_date: str, acquisition_time: str, series_date: str, content_date: str
    ) -> "DatesBeside":
        """Take them from the attributes, but for the time of day, which tells every slice apart."""
        return cls((acquisition_date or acquisition_time)[:DATE_CHARACTERS], series_date, content_date)


_NAMES = DatesBeside("the date of acquisition", "SeriesDate", "ContentDate")
NO_DATES_BESIDE = DatesBeside()


@dataclass(frozen=True, slots=True)
class ScanDay:
    """The day, with where it is from if not from StudyDate; or why there is none."""

    day: date | None = None
    note: str | None = None
    fault: str | None = None


def days_meant(text: str | None) -> tuple[date, date] | None:
    """Return first and last day of a date: ``19660102``, ``1966-01-02``, ``196601``, ``1966`` or ``19660000``."""
    found = _DATE.fullmatch((text or "").strip())
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[3] or 0), int(found[4] or 0)
    try:
        first = date(year, month or 1, day or 1 if month else 1)
        if month and day:
            return first, first
        last = date(year + (month in {0, 12}), month % 12 + 1, 1) if month else date(year + 1, 1, 1)
    except ValueError:
        return None
    return first, last - timedelta(days=1)


def is_placeholder(days: tuple[date, date]) -> bool:
    """Tell whether a date stands for an unknown one."""
    first = (days[0].year, days[0].month, days[0].day)
    return first in _PLACEHOLDER_DATES or days[0].year == 1


def day_of_scan(study_date: str | None, beside: DatesBeside) -> ScanDay:
    """Take StudyDate, else the first date beside it that is one.

    No day where study and acquisition lie more than a year apart: one of them was shifted, or set by a wrong clock.
    """
    written = (study_date or "").strip()
    study, acquired = _day(written), _day(beside.acquisition)
    if study is not None and acquired is not None and abs(study - acquired) > ALLOWED_APART:
        return ScanDay(fault="the dates of study and acquisition lie more than a year apart")
    if study is not None:
        return ScanDay(study)
    for name, text in zip(_NAMES, beside, strict=True):
        day = _day(text)
        if day is not None:
            return ScanDay(
                day, note=f"{'StudyDate is no date' if written else 'there is no StudyDate'}, {name} was taken"
            )
    if written or any(beside):
        return ScanDay(fault="the study date is no date")
    return ScanDay(fault="no date says when the scan was made")


def worth_keeping(study_date: str, beside: DatesBeside) -> str:
    """Return the date that an age read later needs beside ``study_date``, to stand in for it or to contradict it."""
    if _day(beside.acquisition) is not None:
        return beside.acquisition
    day = day_of_scan(study_date, beside)
    return day.day.strftime("%Y%m%d") if day.day is not None and day.note else ""


def _day(text: str) -> date | None:
    days = days_meant(text)
    return None if days is None or days[0] != days[1] or is_placeholder(days) else days[0]
