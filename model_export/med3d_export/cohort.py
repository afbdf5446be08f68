"""The cohort manifest: one CSV row per subject, checked row by row."""

import csv
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

COLUMNS = ("participant_id", "age", "sex", "site", "t1w")


class CohortError(Exception):
    """The manifest is wrong; ``problems`` holds one line per fault that names the file's row (the header is row 1)."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class CohortSubject:
    """One row. age in years at the scan; sex F or M; t1w an existing NIfTI file."""

    row: int
    participant_id: str
    age_years: float
    sex: str
    site: str
    t1w: Path


@dataclass(frozen=True)
class Cohort:
    """Subjects in the manifest's order."""

    subjects: tuple[CohortSubject, ...]

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def ages_years(self) -> npt.NDArray[np.float64]:
        """(N,) years."""
        return np.array([subject.age_years for subject in self.subjects])

    @property
    def sexes(self) -> npt.NDArray[np.str_]:
        """(N,) F or M."""
        return np.array([subject.sex for subject in self.subjects])


def read_cohort(manifest: Path, least_subjects: int = 20) -> Cohort:
    """Read a CSV with the columns COLUMNS; ``t1w`` is relative to the manifest's folder.

    Raises CohortError with every faulty row, not only the first, and where fewer than ``least_subjects`` remain or all
    have the same age.
    """
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
        if missing:
            raise CohortError([f"row 1: the column {column} is missing" for column in missing])
        rows = list(enumerate(reader, start=2))
    problems: list[str] = []
    subjects = [subject for row, record in rows if (subject := _subject(row, record, manifest.parent, problems))]
    problems += _repeated(subjects)
    if not problems and len(subjects) < least_subjects:
        problems.append(f"{len(subjects)} subjects are too few: at least {least_subjects} are needed")
    if not problems and len({subject.age_years for subject in subjects}) == 1:
        problems.append("every subject has the same age, so there is nothing to learn")
    if problems:
        raise CohortError(problems)
    return Cohort(tuple(subjects))


def _subject(row: int, record: dict[str, str | None], folder: Path, problems: list[str]) -> CohortSubject | None:
    values = {column: (record.get(column) or "").strip() for column in COLUMNS}
    before = len(problems)
    problems += [f"row {row}: {column} is empty" for column, value in values.items() if not value]
    age = _age(values["age"])
    if values["age"] and age is None:
        problems.append(f"row {row}: age {values['age']!r} is not a number of years from 0 to 120")
    if values["sex"] and values["sex"] not in {"F", "M"}:
        problems.append(f"row {row}: sex {values['sex']!r} is neither F nor M")
    t1w = folder / values["t1w"]
    if values["t1w"] and not t1w.is_file():
        problems.append(f"row {row}: t1w {values['t1w']!r} is no file beside the manifest")
    if len(problems) > before or age is None:
        return None
    return CohortSubject(row, values["participant_id"], age, values["sex"], values["site"], t1w)


def _age(text: str) -> float | None:
    try:
        years = float(text)
    except ValueError:
        return None
    return years if math.isfinite(years) and 0 <= years <= 120 else None


def _repeated(subjects: list[CohortSubject]) -> list[str]:
    problems = []
    for what in ("participant_id", "t1w"):
        counts = Counter(getattr(subject, what) for subject in subjects)
        problems += [
            f"row {subject.row}: {what} occurs {counts[getattr(subject, what)]} times"
            for subject in subjects
            if counts[getattr(subject, what)] > 1
        ]
    return problems
