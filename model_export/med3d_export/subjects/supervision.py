"""Labels for the semi-supervision, standardised by the training subjects alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from med3d_export.config import SupervisionConfig
from med3d_export.subjects.cohort import Cohort, CohortError
from med3d_export.subjects.regional_volumes import read_volumes
from med3d_export.training.values import NO_SITE, TargetLoss, Targets

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Supervision:
    """What a cohort knows of its N rows, and how much of it may enter an encoder.

    volumes: (N, V), fractions of the intracranial volume; V = 0 where there are none.
    """

    cohort: Cohort
    volumes: Floats
    config: SupervisionConfig

    @classmethod
    def of(cls, cohort: Cohort, config: SupervisionConfig) -> Self:
        """Return it without volumes."""
        return cls(cohort, np.empty((len(cohort), 0)), config)

    def targets(self, training: npt.NDArray[np.int64]) -> Targets:
        """Return labels of the rows at ``training``; their own mean and spread standardise age, SDMT and volumes.

        Sex is 1 for F. A label whose weight is 0 has no column.
        """
        config, cohort = self.config, self.cohort
        volume_weight = config.volumes_weight / max(1, self.volumes.shape[1])
        columns: list[tuple[float, Floats, TargetLoss]] = [
            (config.age_weight, cohort.ages_years, "squared"),
            (config.sex_weight, (cohort.sexes == "F").astype(float), "logistic"),
            (config.sdmt_weight, cohort.sdmt, "squared"),
            *((volume_weight, volume, "squared") for volume in self.volumes.T),
        ]
        kept = [(weight, values[training], loss) for weight, values, loss in columns if weight > 0]
        values = [_standardised(found) if loss == "squared" else found for _, found, loss in kept]
        return Targets(
            values=np.stack(values, axis=1).astype(np.float32) if kept else np.empty((len(training), 0), np.float32),
            weights=np.array([weight for weight, _, _ in kept], dtype=np.float32),
            losses=tuple(loss for _, _, loss in kept),
            sites=self._site_numbers(training),
            site_weight=config.site_adversary_weight,
            subjects=cohort.participant_ids[training],
        )

    def _site_numbers(self, training: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return sites of the training rows alone: the adversary knows no others."""
        if not self.config.site_adversary_weight:
            return np.full(len(training), NO_SITE, dtype=np.int64)
        return np.unique(self.cohort.sites[training], return_inverse=True)[1].astype(np.int64)


def read_supervision(cohort: Cohort, config: SupervisionConfig, folder: Path) -> Supervision:
    """Read labels from the cohort and, if their weight is above 0, regional volumes from ``volumes_csv`` in ``folder``.

    The CSV has one row per subject: MRID, then volumes in mm3 by region number. Raises CohortError that names each
    subject without a row and each value that is no number, and where a weight asks for labels that nobody has.
    """
    if config.sdmt_weight > 0 and not np.isfinite(cohort.sdmt).any():
        raise CohortError(["sdmt_weight is above 0, but the manifest has no column sdmt, or it is empty"])
    if config.site_adversary_weight > 0 and len(set(cohort.sites)) < 2:
        raise CohortError(["site_adversary_weight is above 0, but everyone is from one site"])
    if config.volumes_weight == 0:
        return Supervision.of(cohort, config)
    if config.volumes_csv is None:
        raise CohortError(["volumes_weight is above 0, but volumes_csv is not set"])
    return Supervision(cohort, read_volumes(cohort, folder / config.volumes_csv), config)


def _standardised(values: Floats) -> Floats:
    """NaN stays NaN; a label that is the same for all becomes 0."""
    known = values[np.isfinite(values)]
    spread = float(known.std()) if len(known) else 0.0
    centre = float(known.mean()) if len(known) else 0.0
    return np.asarray((values - centre) / (spread or 1.0), dtype=np.float64)
