"""The age at one scan and the sex, as the tables of a dataset tell them, or why there is no age."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from med3d_contract.ages import DAYS_PER_YEAR, OLDEST_YEARS, UNUSABLE, AgeReading, read_age
from med3d_contract.results import ChronologicalAge, Reason, Sex

Row = Mapping[str, str]
AGES = ("age", "age_at_scan", "age_years")
BIRTH_DATES = ("birth_date", "birthdate", "date_of_birth", "dob")
ACQUIRED = ("acq_time", "acq_date", "scan_date")
SEXES = {"m": Sex.M, "male": Sex.M, "f": Sex.F, "female": Sex.F}
YEARS_PER_UNIT = {
    "": 1.0, "n/a": 1.0, "year": 1.0, "years": 1.0, "y": 1.0, "yr": 1.0, "a": 1.0, "month": 1 / 12, "months": 1 / 12,
    "week": 7 / DAYS_PER_YEAR, "weeks": 7 / DAYS_PER_YEAR, "day": 1 / DAYS_PER_YEAR, "days": 1 / DAYS_PER_YEAR,
}  # fmt: skip
_NUMBER = re.compile(r"\d{1,5}(?:[.,]\d+)?")
_BOUND = re.compile(r"(?:[<>]=?|[≤≥])\s*\d+(?:\.\d+)?|\d+(?:\.\d+)?\s*\+")
_REMEDY = "so no gap is given. State the age at this scan in the sessions file (column age, years)."


@dataclass(frozen=True)
class VisitRows:
    """What the tables say of one scan. several_visits: the participant was scanned in more than one session.

    visit: the row of participants.tsv that names this session, in datasets that have a row for each.
    age_unit: of all columns of ages, as participants.json states it.
    """

    participant: Row
    visit: Row
    session: Row
    scan: Row
    several_visits: bool
    age_unit: str = ""


def read_visit_age(rows: VisitRows) -> AgeReading:
    """Read the age at the scan: of the scan, else of the session, else by dates, else the participant's.

    A participant's age is nobody's at several visits: it is left out, and this told. So is a bound such as ``89+``.
    """
    nearest = (("scans.tsv", rows.scan), ("sessions.tsv", rows.session), ("participants.tsv", rows.visit))
    for table, row in nearest:
        if text := first_of(row, AGES):
            return _stated(text, table, rows.age_unit)
    dated = _by_dates(rows)
    if dated is not None and dated.age is not None:
        return dated
    text = first_of(rows.participant, AGES)
    if not text:
        return dated or AgeReading(None)
    if rows.several_visits:
        return _unusable("participants.tsv has one age, and the participant was scanned in several sessions")
    return _stated(text, "participants.tsv", rows.age_unit)


def read_sex(text: str) -> Sex | None:
    """Read M or F in any of BIDS's spellings; other and unknown are None."""
    return SEXES.get(text.strip().casefold())


def first_of(row: Row, columns: tuple[str, ...]) -> str:
    """Return the first of ``columns`` that the row fills, in whatever case its name is written; else nothing."""
    folded = {column.strip().casefold(): text for column, text in row.items()}
    return next((folded[column] for column in columns if folded.get(column)), "")


def _stated(text: str, table: str, unit: str) -> AgeReading:
    if _BOUND.fullmatch(text):
        return _unusable(f"{table} gives a bound ({text}) in place of an age")
    factor = YEARS_PER_UNIT.get(unit.strip().casefold())
    if factor is None:
        return _unusable("participants.json states a unit of ages that is none of years, months, weeks and days")
    if _NUMBER.fullmatch(text) is None:
        return _unusable(f"what {table} has for it is no number")
    years = float(text.replace(",", ".")) * factor
    if years > OLDEST_YEARS:
        return _unusable(f"{table} has an age above {OLDEST_YEARS:g} years")
    return AgeReading(ChronologicalAge(years=round(years, 3), source="form", note=f"from {table}"))


def _by_dates(rows: VisitRows) -> AgeReading | None:
    born = first_of(rows.participant, BIRTH_DATES)
    acquired = first_of(rows.scan, ACQUIRED) or first_of(rows.session, ACQUIRED)
    if not born or not acquired:
        return None
    read = read_age(birth_date=born, study_date=acquired.split("T")[0].split(" ")[0])
    if read.age is None:
        return _unusable("birth date and time of acquisition give no age")
    note = f"from birth date and time of acquisition{f'; {read.age.note}' if read.age.note else ''}"
    return AgeReading(read.age.model_copy(update={"note": note}))


def _unusable(why: str) -> AgeReading:
    return AgeReading(
        None, Reason(code=UNUSABLE, sentence=f"What the dataset says of the age cannot be used ({why}), {_REMEDY}")
    )
