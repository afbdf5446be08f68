"""Chronological age at the scan, from what a study says of it."""

from datetime import date, datetime

from med3d_contract.results import ChronologicalAge

DAYS_PER_YEAR = 365.25


def chronological_age(
    *,
    stated_years: float | None = None,
    birth_date: str | None = None,
    study_date: str | None = None,
    patient_age: str | None = None,
) -> ChronologicalAge | None:
    """Age in years: as stated by the sender, else birth date to study date (DICOM DA), else PatientAge (DICOM AS).

    PatientAge counts completed units, so half a unit is added and said. None where nothing usable is known: an
    unreadable date or an age outside 0 to 120 is no age.
    """
    if stated_years is not None:
        return ChronologicalAge(years=stated_years, source="form")
    born, scanned = _date(birth_date), _date(study_date)
    if born and scanned:
        years = (scanned - born).days / DAYS_PER_YEAR
        if 0 <= years <= 120:
            return ChronologicalAge(years=round(years, 3), source="birth_date")
    return _from_age_string(patient_age)


def _date(text: str | None) -> date | None:
    try:
        return datetime.strptime((text or "").strip(), "%Y%m%d").date()  # noqa: DTZ007 - a DICOM DA has no zone
    except ValueError:
        return None


def _from_age_string(text: str | None) -> ChronologicalAge | None:
    text = (text or "").strip().upper()
    unit_years = {"D": 1 / DAYS_PER_YEAR, "W": 7 / DAYS_PER_YEAR, "M": 1 / 12, "Y": 1.0}
    if len(text) != 4 or not (text.isascii() and text[:3].isdecimal()) or text[3] not in unit_years:
        return None
    years = (int(text[:3]) + 0.5) * unit_years[text[3]]
    if years > 120:
        return None
    unit_word = {"D": "days", "W": "weeks", "M": "months", "Y": "years"}[text[3]]
    note = f"PatientAge holds whole {unit_word}; half a unit was added"
    return ChronologicalAge(years=round(years, 3), source="patient_age", note=note)
