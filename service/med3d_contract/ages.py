"""Chronological age at the scan, from what a study says of it, and why there is none where its sources are no use."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from med3d_contract.results import ChronologicalAge, Reason
from med3d_contract.scan_dates import NO_DATES_BESIDE, DatesBeside, ScanDay, day_of_scan, days_meant, is_placeholder

DAYS_PER_YEAR = 365.25
OLDEST_YEARS = 120.0
ALLOWED_DISAGREEMENT_YEARS = 1.0
LEAP_DAYS_YEARS = 2 / DAYS_PER_YEAR
"""What a span of whole calendar years may lack when its days are counted: seven years hold one leap day, or none."""

DISAGREE = Reason(
    code="age_sources_disagree",
    sentence="Birth date and PatientAge tell ages that lie more than a year apart, so none was taken. "
    "Correct the patient's data at their source, or state the age when sending.",
)
IMAGES_DISAGREE = Reason(
    code=DISAGREE.code,
    sentence="The images tell ages that lie more than a year apart, so none was taken. "
    "Send each study on its own, correct the patient's data at their source, or state the age when sending.",
)
STATED_DIFFERS = "stated_age_differs"
STATED_DIFFERS_SENTENCE = (
    "The age stated beside the images ({stated:.1f} years) was taken; they tell {told:.1f}. "
    "Find out which is right, and whether the images are of the person that was meant."
)
UNUSABLE = "age_unusable"
UNUSABLE_SENTENCE = (
    "What the images say of the age cannot be used ({why}), so no gap is given. "
    "Correct the patient's data at their source, or state the age when sending."
)

_PLACEHOLDER_AGE = re.compile(r"(?:0+|9{3,})\s*[DWMY]?|[DWMY]?\s*0+")
_AGE = re.compile(
    r"(?P<number>\d{1,5})(?:[.,](?P<decimals>\d{1,3}))?\s*"
    r"(?P<unit>D|DAYS?|W|WKS?|WEEKS?|M|MOS?|MONTHS?|Y|YRS?|YEARS?|)",
    re.ASCII,
)
_UNIT_FIRST = re.compile(r"([DWMY])\s*(\d{1,5})", re.ASCII)
_UNIT_YEARS = {"D": 1 / DAYS_PER_YEAR, "W": 7 / DAYS_PER_YEAR, "M": 1 / 12, "Y": 1.0}
_UNIT_WORDS = {"D": "days", "W": "weeks", "M": "months", "Y": "years"}


@dataclass(frozen=True, slots=True)
class AgeReading:
    """The age, or why there is none although something is written (``doubt``, for review).

    Both are None where nothing is written, or only what stands for an unknown age; both are there where an age was
    stated that is not the images'.
    """

    age: ChronologicalAge | None
    doubt: Reason | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    """What one attribute gives: an age from ``lowest`` to ``highest`` in years, or why it gives none."""

    lowest: float | None = None
    highest: float = 0.0
    note: str | None = None
    placeholder: bool = False
    fault: str | None = None

    @property
    def middle(self) -> float:
        return ((self.lowest or 0.0) + self.highest) / 2


_NOTHING = _Source()


def chronological_age(
    *,
    stated_years: float | None = None,
    birth_date: str | None = None,
    study_date: str | None = None,
    patient_age: str | None = None,
    beside: DatesBeside = NO_DATES_BESIDE,
) -> ChronologicalAge | None:
    """Read the age alone; see read_age."""
    return read_age(
        stated_years=stated_years,
        birth_date=birth_date,
        study_date=study_date,
        patient_age=patient_age,
        beside=beside,
    ).age


def read_age(
    *,
    stated_years: float | None = None,
    birth_date: str | None = None,
    study_date: str | None = None,
    patient_age: str | None = None,
    beside: DatesBeside = NO_DATES_BESIDE,
    today: date | None = None,
) -> AgeReading:
    """Read the age in years: as stated, else from birth date to study date (DICOM DA), else PatientAge (DICOM AS).

    Where StudyDate was taken out the dates ``beside`` it stand in.

    Dates and ages are read as they are meant, not as the standard spells them. PatientAge counts completed units, so
    half a unit is added and said. A placeholder (1 January 1900, a date to come, 000Y) counts as not written. Where the
    birth date and PatientAge lie more than a year apart neither is taken. ``today``: this day where not given.
    """
    if stated_years is not None:
        return AgeReading(ChronologicalAge(years=stated_years, source="form"))
    born = _from_dates(birth_date, day_of_scan(study_date, beside), today or datetime.now(tz=UTC).date())
    told = _from_age_string(patient_age)
    if born.lowest is not None and told.lowest is not None:
        return _agreed(born, told)
    if born.lowest is not None:
        return _taken(born, "birth_date", ("PatientAge could not be read",) if told.fault else ())
    if told.lowest is not None:
        unused = born.fault or ("PatientBirthDate is a placeholder" if born.placeholder else None)
        return _taken(told, "patient_age", (unused,) if unused else ())
    faults = [source.fault for source in (born, told) if source.fault]
    return AgeReading(None, _unusable("; ".join(faults)) if faults else None)


def _unusable(why: str) -> Reason:
    return Reason(code=UNUSABLE, sentence=UNUSABLE_SENTENCE.format(why=why))


def agreed_age(readings: Iterable[AgeReading]) -> AgeReading:
    """Give the one age that several images tell, the most exact of them; a doubt where it cannot be told.

    Images that tell no age do not count. Where ages lie more than a year apart, or one image contradicts itself, none
    is taken.
    """
    found = list(readings)
    ages = sorted((one.age for one in found if one.age is not None), key=lambda age: (age.source, age.years))
    doubts = sorted((one.doubt for one in found if one.doubt is not None), key=lambda doubt: (doubt.code, str(doubt)))
    contradiction = next((doubt for doubt in doubts if doubt.code == DISAGREE.code), None)
    if contradiction is not None:
        return AgeReading(None, contradiction)
    if not ages:
        return AgeReading(None, doubts[0] if doubts else None)
    years = [age.years for age in ages]
    if max(years) - min(years) > ALLOWED_DISAGREEMENT_YEARS:
        return AgeReading(None, IMAGES_DISAGREE)
    return AgeReading(ages[0])


def stated_age(years: float | None) -> AgeReading | None:
    """Give an age as stated beside the images; None where none was."""
    return None if years is None else read_age(stated_years=years)


def settle_age(stated: AgeReading | None, told: AgeReading) -> AgeReading:
    """Give the age as stated, else as the images tell it; where they lie more than a year apart the doubt says so.

    A stated age settles what the images leave open: it has no doubt where they tell no age, or contradict themselves.
    """
    if stated is None:
        return told
    if stated.age is None or told.age is None:
        return stated
    if abs(told.age.years - stated.age.years) <= ALLOWED_DISAGREEMENT_YEARS:
        return stated
    sentence = STATED_DIFFERS_SENTENCE.format(stated=stated.age.years, told=told.age.years)
    return AgeReading(stated.age, Reason(code=STATED_DIFFERS, sentence=sentence))


def storable_age(reading: AgeReading) -> dict[str, Any] | None:
    """Give a reading the form in which a study keeps it: the age, or in its place the doubt; None for neither."""
    if reading.age is not None:
        return reading.age.model_dump(mode="json")
    return None if reading.doubt is None else {"doubt": reading.doubt.model_dump(mode="json")}


def stored_age(kept: Mapping[str, Any] | None) -> AgeReading:
    """Return the reading that ``storable_age`` wrote."""
    if not kept:
        return AgeReading(None)
    if "doubt" in kept:
        return AgeReading(None, Reason.model_validate(kept["doubt"]))
    return AgeReading(ChronologicalAge.model_validate(kept))


def _agreed(born: _Source, told: _Source) -> AgeReading:
    assert born.lowest is not None
    assert told.lowest is not None
    too_old = born.lowest - told.highest >= ALLOWED_DISAGREEMENT_YEARS
    too_young = told.lowest - born.highest > ALLOWED_DISAGREEMENT_YEARS + LEAP_DAYS_YEARS
    if too_old or too_young:
        return AgeReading(None, DISAGREE)
    born_exactly = born.lowest == born.highest
    return _taken(born, "birth_date", ()) if born_exactly else _taken(told, "patient_age", ())


def _taken(source: _Source, name: str, remarks: tuple[str, ...]) -> AgeReading:
    notes = [*remarks, *([source.note] if source.note else [])]
    return AgeReading(
        ChronologicalAge.model_validate(
            {"years": round(source.middle, 3), "source": name, "note": "; ".join(notes) or None}
        )
    )


def _from_dates(birth_date: str | None, scan: ScanDay, today: date) -> _Source:
    written = (birth_date or "").strip()
    if not written:
        return _NOTHING
    born = days_meant(written)
    if set(written) <= set("0-./") or (born is not None and (is_placeholder(born) or born[0] > today)):
        return _PLACEHOLDER
    if born is None:
        return _Source(fault="the birth date is no date")
    if scan.day is None:
        return _Source(fault=scan.fault)
    if born == (scan.day, scan.day):
        return _PLACEHOLDER  # de-identifiers write one date for both; what a newborn's PatientAge says stands
    return _between(born, scan.day, scan.note, today)


def _between(born: tuple[date, date], scanned: date, note: str | None, today: date) -> _Source:
    if scanned > today + timedelta(days=1):  # somewhere it is tomorrow already
        return _Source(fault="the study date is still to come")
    if born[0] > scanned:
        return _Source(fault="the birth date lies after the study date")
    youngest, oldest = (max((scanned - day).days, 0) / DAYS_PER_YEAR for day in (born[1], born[0]))
    if youngest > OLDEST_YEARS:
        return _Source(fault="the birth date makes the person older than 120 years")
    whole = (
        None if born[0] == born[1] else "PatientBirthDate holds no day; the middle of the time that it names was taken"
    )
    return _Source(youngest, min(oldest, OLDEST_YEARS), "; ".join(filter(None, (note, whole))) or None)


_PLACEHOLDER = _Source(placeholder=True)


def _from_age_string(text: str | None) -> _Source:
    text = (text or "").strip().upper()
    if not text:
        return _NOTHING
    if _PLACEHOLDER_AGE.fullmatch(text):
        return _PLACEHOLDER
    text = _UNIT_FIRST.sub(r"\2\1", text) if _UNIT_FIRST.fullmatch(text) else text
    found = _AGE.fullmatch(text)
    if found is None or (not found["unit"] and len(found["number"]) > 3):
        return _Source(fault="PatientAge is no age")
    unit = found["unit"][:1] or "Y"
    number = float(f"{found['number']}.{found['decimals'] or 0}")
    width = 0.0 if found["decimals"] else 1.0
    lowest, highest = number * _UNIT_YEARS[unit], (number + width) * _UNIT_YEARS[unit]
    if (lowest + highest) / 2 > OLDEST_YEARS:
        return _Source(fault="PatientAge is above 120 years")
    return _Source(lowest, highest, _age_note(found["unit"], unit, exact=width == 0))


def _age_note(written: str, unit: str, *, exact: bool) -> str:
    unstated = "PatientAge states no unit and was read as years; " if not written else ""
    if exact:
        return f"{unstated}PatientAge holds {_UNIT_WORDS[unit]} with decimals"
    return f"{unstated}PatientAge holds whole {_UNIT_WORDS[unit]}; half a unit was added"
