"""Regional brain volumes from a segmentation, as shares of the intracranial volume."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from med3d_export.subjects.cohort import Cohort, CohortError

Floats = npt.NDArray[np.float64]
SUBJECT = "MRID"
INTRACRANIAL = "702"
"""DLMUSE's number of the total intracranial volume, which the other volumes are divided by."""


def read_volumes(cohort: Cohort, path: Path) -> Floats:
    """Read volumes (N, V) in mm3, in the cohort's order, from a CSV of subjects: MRID, then one by region number.

    Raises CohortError that names each subject without a row of its own and each value that is no number, and where the
    file cannot be read.
    """
    columns, listed = _read(path)
    if SUBJECT not in columns or INTRACRANIAL not in columns:
        raise CohortError([f"{path.name}: the columns {SUBJECT} and {INTRACRANIAL} are needed"])
    rows = {row[SUBJECT]: row for row in listed}
    times, scans = Counter(row[SUBJECT] for row in listed), Counter(cohort.participant_ids.tolist())
    problems = [f"{path.name}: {SUBJECT} {name} has {times[name]} rows" for name in scans if times[name] > 1]
    problems += [
        f"row {s.row}: {s.participant_id} has {scans[s.participant_id]} scans, and {path.name} one row for all of them"
        for s in cohort.subjects
        if scans[s.participant_id] > 1
    ]
    problems += [
        f"row {s.row}: {s.participant_id} has no row in {path.name}"
        for s in cohort.subjects
        if s.participant_id not in rows
    ]
    if problems:
        raise CohortError(problems)
    regions = [column for column in columns if column not in {SUBJECT, INTRACRANIAL}]
    return np.array([_shares(path.name, rows[subject.participant_id], regions) for subject in cohort.subjects])


def _read(path: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            return reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CohortError([f"{path.name} (volumes_csv) cannot be read: {error}"]) from error


def _shares(file: str, row: dict[str, str], regions: list[str]) -> Floats:
    try:
        values, whole = np.array([float(row[region]) for region in regions]), float(row[INTRACRANIAL])
    except (ValueError, TypeError) as error:
        raise CohortError([f"{file}, {row[SUBJECT]}: {error}"]) from error
    if not np.isfinite(values).all() or not 0 < whole < np.inf:
        raise CohortError([f"{file}, {row[SUBJECT]}: a volume is not finite, or the intracranial one is not positive"])
    return values / whole
