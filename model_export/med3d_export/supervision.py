"""Labels for the semi-supervision, standardised by the training subjects alone."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from med3d_export.cohort import Cohort, CohortError
from med3d_export.config import SupervisionConfig
from med3d_export.training import Targets

Floats = npt.NDArray[np.float64]
INTRACRANIAL = "702"
"""Column of the total intracranial volume, which the other volumes are divided by."""


@dataclass(frozen=True, eq=False)
class Supervision:
    """ages_years (N,); volumes (N, V) as fractions of the intracranial volume, V = 0 where there are none."""

    ages_years: Floats
    volumes: Floats
    age_weight: float
    volumes_weight: float

    def targets(self, training: npt.NDArray[np.int64]) -> Targets:
        """Age and volumes of the subjects at ``training``; their own mean and spread standardise them."""
        labels = np.column_stack([self.ages_years, self.volumes])[training]
        spread = labels.std(axis=0)
        values = (labels - labels.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        count = self.volumes.shape[1]
        weights = np.concatenate([[self.age_weight], np.full(count, self.volumes_weight / max(1, count))])
        return Targets(values.astype(np.float32), weights.astype(np.float32))


def read_supervision(cohort: Cohort, config: SupervisionConfig, folder: Path) -> Supervision:
    """Ages from the cohort and, where the weight is above 0, regional volumes from ``volumes_csv`` in ``folder``.

    The CSV has one row per subject: MRID, then volumes in mm3 by region number. Raises CohortError that names each
    subject without a row and each value that is no number.
    """
    volumes = np.empty((len(cohort), 0))
    if config.volumes_weight > 0:
        if config.volumes_csv is None:
            raise CohortError(["volumes_weight is above 0, but volumes_csv is not set"])
        volumes = _volumes(cohort, folder / config.volumes_csv)
    return Supervision(cohort.ages_years, volumes, config.age_weight, config.volumes_weight)


def _volumes(cohort: Cohort, path: Path) -> Floats:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = {row["MRID"]: row for row in csv.DictReader(file)}
    problems = [
        f"row {s.row}: {s.participant_id} has no row in {path.name}"
        for s in cohort.subjects
        if s.participant_id not in rows
    ]
    if problems:
        raise CohortError(problems)
    first = rows[cohort.subjects[0].participant_id]
    regions = [column for column in first if column not in {"MRID", INTRACRANIAL}]
    volumes = np.empty((len(cohort), len(regions)))
    for place, subject in enumerate(cohort.subjects):
        row = rows[subject.participant_id]
        try:
            values = np.array([float(row[region]) for region in regions]) / float(row[INTRACRANIAL])
        except (ValueError, ZeroDivisionError) as error:
            raise CohortError([f"{path.name}, {subject.participant_id}: {error}"]) from error
        volumes[place] = values
    return volumes
