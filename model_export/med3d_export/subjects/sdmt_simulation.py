"""SDMT scores that nobody measured, for a head that demonstrates the path and nothing else.

There are no SDMT labels beside the public heads. The scores are drawn so that they have, in expectation, the mean, the
standard deviation and the correlations seen in a public table of 43 people with multiple sclerosis: mean 51.2 points,
SD 9.6, r -0.32 with age and +0.26 with brain volume.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SdmtRelations:
    """Moments of the score and its correlations with age and brain volume."""

    mean_points: float = 51.2
    sd_points: float = 9.6
    r_age: float = -0.32
    r_brain_volume: float = 0.26


def simulate_sdmt(
    ages_years: Floats,
    brain_volumes_ml: Floats,
    seed: int,
    relations: SdmtRelations = SdmtRelations(),
) -> Floats:
    """Return scores (N,) within 0 to 110 points: a linear model of standardised age and volume plus Gaussian noise.

    The weights solve for the marginal correlations given how age and volume correlate in this cohort. Raises ValueError
    where no such scores exist.
    """
    predictors = np.stack([_standardised(ages_years), _standardised(brain_volumes_ml)])
    correlation = np.corrcoef(predictors)
    targets = np.array([relations.r_age, relations.r_brain_volume])
    weights = np.linalg.solve(correlation, targets)
    explained = float(weights @ targets)
    if not 0 <= explained < 1:
        raise ValueError("no scores have these correlations with age and brain volume in this cohort")
    noise = np.random.default_rng(seed).normal(0.0, np.sqrt(1.0 - explained), len(ages_years))
    scores = relations.mean_points + relations.sd_points * (weights @ predictors + noise)
    return np.clip(scores, 0.0, 110.0)


def _standardised(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / values.std(), dtype=np.float64)
