"""The age at one scan and the sex, as the tables of a dataset tell them, or why there is no age."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

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
class AgeUnits:
    """Units of the ages in one table, by column, as its dictionaries state them; what is not stated is years.

    doubt: why nobody can say so of what is not stated, within a sentence.
    """

    stated: Mapping[str, str] = field(default_factory=dict)
    doubt: str | None = None

    @property
    def are_years(self) -> bool:
        """Whether every column is in years."""
        return self.doubt is None and all(YEARS_PER_UNIT.get(unit) == 1.0 for unit in self.stated.values())


YEARS = AgeUnits()


@dataclass(frozen=True)
class VisitRows:
    """What the tables say of one scan. several_visits: the participant was scanned in more than one session.

    participant: the row that names no session. visit: the row of participants.tsv that names this one, in datasets that
    have a row for each.
    """

    participant: Row
    visit: Row
    session: Row
    scan: Row
    several_visits: bool
    participants_units: AgeUnits = YEARS
    sessions_units: AgeUnits = YEARS
    scans_units: AgeUnits = YEARS


def read_visit_age(rows: VisitRows) -> AgeReading:
    """Read the age at the scan: of the scan, else of the session, else by dates, else the participant's.

    A participant's age is nobody's at several visits: it is left out, and this told. So is a bound such as ``89+``.
    """
    nearest = (
        ("scans.tsv", rows.scan, rows.scans_units),
        ("sessions.tsv", rows.session, rows.sessions_units),
        ("participants.tsv", rows.visit, rows.participants_units),
    )
    for table, row, units in nearest:
        if column := column_of(row, AGES):
            return _stated(row, column, table, units)
    dated = _by_dates(rows)
    if dated is not None and dated.age is not None:
        return dated
    column = column_of(rows.participant, AGES)
    if column is None:
        return dated or AgeReading(None)
    if rows.several_visits:
        return _unusable("participants.tsv has one age, and the participant was scanned in several sessions")
    return _stated(rows.participant, column, "participants.tsv", rows.participants_units)


def read_sex(text: str) -> Sex | None:
    """Read M or F in any of BIDS's spellings; other and unknown are None."""
    return SEXES.get(text.strip().casefold())


def column_of(row: Row, columns: tuple[str, ...]) -> str | None:
    """Return the row's own name of the first of ``columns`` that it fills, in whatever case it is written."""
    written = {folded(column): column for column, text in row.items() if text}
    return next((written[column] for column in columns if column in written), None)


def first_of(row: Row, columns: tuple[str, ...]) -> str:
    """Return what stands in the first of ``columns`` that the row fills; else nothing."""
    column = column_of(row, columns)
    return "" if column is None else row[column]


def folded(name: str) -> str:
    """Return a column's name, or a unit, as they are compared."""
    return name.strip().casefold()


def _stated(row: Row, column: str, table: str, units: AgeUnits) -> AgeReading:
    text, unit = row[column], units.stated.get(folded(column))
    if _BOUND.fullmatch(text):
        return _unusable(f"{table} gives a bound ({text}) in place of an age")
    if unit is None and units.doubt is not None:
        return _unusable(units.doubt)
    factor = YEARS_PER_UNIT.get(unit or "")
    if factor is None:
        return _unusable(f"the unit stated for the ages of {table} is none of years, months, weeks and days")
    if _NUMBER.fullmatch(text) is None:
        return _unusable(f"what {table} has for it is no number")
    years = float(text.replace(",", ".")) * factor
    if not 0 < years <= OLDEST_YEARS:
        why = f"above {OLDEST_YEARS:g} years" if years else "of 0, which stands for none that is known"
        return _unusable(f"{table} has an age {why}")
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
