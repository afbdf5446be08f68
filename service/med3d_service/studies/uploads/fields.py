"""The text fields of POST /studies, and how each may be refused."""

import re
from dataclasses import dataclass

from med3d_contract.results import Priority, Sex
from med3d_service.problems import ServiceError
from med3d_service.studies.series_by_hand import LONGEST_SERIES


@dataclass(frozen=True)
class SubmittedFields:
    """The optional fields of POST /studies; None where the sender said nothing."""

    age: float | None = None
    sex: Sex | None = None
    subject: str | None = None
    priority: Priority | None = None
    bundle: str | None = None
    series: str | None = None


def parse_age(text: str) -> float:
    """Return years from 0 to 120. Raises ServiceError("invalid_age")."""
    if not re.fullmatch(r"\d{1,3}(\.\d{1,6})?", text.strip(), re.ASCII) or not 0 <= float(text) <= 120:
        raise ServiceError("invalid_age")
    return float(text)


def parse_fields(texts: dict[str, str]) -> SubmittedFields:
    """Judge the text fields; an empty one counts as left out. Raises ServiceError with the field's own code."""
    given = {name: text.strip() for name, text in texts.items() if text.strip()}
    sex, priority, subject = given.get("sex"), given.get("priority"), given.get("subject")
    if sex is not None and sex not in Sex.__members__.values():
        raise ServiceError("invalid_sex")
    if priority is not None and priority not in Priority.__members__.values():
        raise ServiceError("unknown_priority")
    if subject is not None and len(subject) > 200:
        raise ServiceError("invalid_subject")
    if len(given.get("series", "")) > LONGEST_SERIES:
        raise ServiceError("invalid_series")
    return SubmittedFields(
        age=parse_age(given["age"]) if "age" in given else None,
        sex=Sex(sex) if sex else None,
        subject=subject,
        priority=Priority(priority) if priority else None,
        bundle=given.get("bundle"),
        series=given.get("series"),
    )
