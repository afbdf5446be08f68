"""When the patient was examined, in the words of those who are told."""

import re
from dataclasses import dataclass
from datetime import datetime

from med3d_service.results.reports.facts import ReportFacts

_DATE = re.compile(r"[0-9]{8}")
_TIME = re.compile(r"([0-9]{6})(\.[0-9]+)?")
_OFFSET = re.compile(r"[+-][0-9]{4}")


@dataclass(frozen=True)
class Examined:
    """A moment, or a day where the images tell no more."""

    at: datetime
    is_day: bool

    @property
    def fhir(self) -> str:
        """As FHIR's dateTime: with its zone where it has a time."""
        return self.at.date().isoformat() if self.is_day else self.at.isoformat()

    @property
    def hl7(self) -> str:
        """As TS of HL7 v2."""
        return self.at.strftime("%Y%m%d" if self.is_day else "%Y%m%d%H%M%S%z")


def examined_at(facts: ReportFacts) -> Examined | None:
    """Read date and time of the study, in the zone that the images state, else in the service's."""
    if facts.study is None or not _DATE.fullmatch(facts.study.study_date):
        return None
    time = _TIME.fullmatch(facts.study.study_time)
    offset = facts.study.attributes.get("timezone_offset", "")
    zone = offset if _OFFSET.fullmatch(offset) else ""
    try:
        if time is None:
            return Examined(_read(facts.study.study_date, "%Y%m%d"), is_day=True)
        pattern = "%Y%m%d%H%M%S" + ("%z" if zone else "")
        return Examined(_read(facts.study.study_date + time[1] + zone, pattern), is_day=False)
    except ValueError:  # digits that are no date
        return None


def _read(text: str, pattern: str) -> datetime:
    found = datetime.strptime(text, pattern)  # noqa: DTZ007 - where no zone is stated it is the service's
    return found if found.tzinfo is not None else found.astimezone()
