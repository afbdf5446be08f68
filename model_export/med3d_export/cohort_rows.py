"""Rows of text to a cohort, every fault named with its row."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from med3d_export.cohort import Cohort, CohortError, CohortSubject

REQUIRED = ("participant_id", "age", "sex", "t1w")
OPTIONAL = ("site", "scanner", "sdmt", "visit")
_ORDER = ("participant_id", "age", "sex", "site", "t1w")
ONE_SITE = "one site"
"""What a manifest without the column ``site`` says of everyone."""
MOST_SDMT_POINTS = 110.0


@dataclass(frozen=True)
class ManifestRow:
    """One row as it was read: its number in the file (the header is row 1) and its values by column."""

    number: int
    values: Mapping[str, str | None]


def require_columns(found: Iterable[str]) -> None:
    """Raises CohortError that names each column of REQUIRED that is missing."""
    missing = [column for column in REQUIRED if column not in set(found)]
    if missing:
        raise CohortError([f"row 1: the column {column} is missing" for column in missing])


def checked_cohort(rows: Iterable[ManifestRow], folder: Path, least_subjects: int) -> Cohort:
    """The cohort that ``rows`` describe; ``t1w`` is relative to ``folder``.

    Raises CohortError with every faulty row, not only the first, and where fewer than ``least_subjects`` people remain
    or all have the same age.
    """
    problems: list[str] = []
    subjects = [subject for row in rows if (subject := _subject(row, folder, problems))]
    problems += _repeated(subjects) + _contradicted(subjects)
    people = len({subject.participant_id for subject in subjects})
    if not problems and people < least_subjects:
        problems.append(f"{people} subjects are too few: at least {least_subjects} are needed")
    if not problems and len({subject.age_years for subject in subjects}) == 1:
        problems.append("every subject has the same age, so there is nothing to learn")
    if problems:
        raise CohortError(problems)
    return Cohort(tuple(subjects))


def _subject(row: ManifestRow, folder: Path, problems: list[str]) -> CohortSubject | None:
    values = {column: (row.values.get(column) or "").strip() for column in (*REQUIRED, *OPTIONAL)}
    needed = [column for column in _ORDER if column in REQUIRED or (column == "site" and column in row.values)]
    before = len(problems)
    problems += [f"row {row.number}: {column} is empty" for column in needed if not values[column]]
    age = _number(row.number, "age", values["age"], "a number of years from 0 to 120", 120.0, problems)
    if values["sex"] and values["sex"] not in {"F", "M"}:
        problems.append(f"row {row.number}: sex {values['sex']!r} is neither F nor M")
    if values["t1w"] and not (folder / values["t1w"]).is_file():
        problems.append(f"row {row.number}: t1w {values['t1w']!r} is no file beside the manifest")
    sdmt = _number(row.number, "sdmt", values["sdmt"], "a number of points from 0 to 110", MOST_SDMT_POINTS, problems)
    if len(problems) > before:
        return None
    return CohortSubject(
        row=row.number,
        participant_id=values["participant_id"],
        age_years=age,
        sex=values["sex"],
        site=values["site"] or ONE_SITE,
        t1w=folder / values["t1w"],
        scanner=values["scanner"],
        sdmt=sdmt,
        visit=values["visit"],
    )


def _number(row: int, column: str, text: str, wanted: str, most: float, problems: list[str]) -> float:
    """NaN where ``text`` is empty, and where it is a problem."""
    if not text:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number) and 0 <= number <= most:
        return number
    problems.append(f"row {row}: {column} {text!r} is not {wanted}")
    return math.nan


def _repeated(subjects: list[CohortSubject]) -> list[str]:
    problems = []
    visits = Counter((subject.participant_id, subject.visit) for subject in subjects)
    for subject in subjects:
        if (times := visits[subject.participant_id, subject.visit]) > 1:
            again = f" with the visit {subject.visit!r}" if subject.visit else ""
            problems.append(f"row {subject.row}: participant_id occurs {times} times{again}")
    files = Counter(subject.t1w for subject in subjects)
    problems += [f"row {s.row}: t1w occurs {files[s.t1w]} times" for s in subjects if files[s.t1w] > 1]
    return problems


def _contradicted(subjects: list[CohortSubject]) -> list[str]:
    first = {subject.participant_id: subject for subject in reversed(subjects)}
    return [
        f"row {s.row}: {s.participant_id} is {s.sex} here and {first[s.participant_id].sex} in row "
        f"{first[s.participant_id].row}"
        for s in subjects
        if s.sex != first[s.participant_id].sex
    ]
