"""What is known of the subjects beside their images, in the cohort's order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]
MEASURED_LABELS = "SDMT scores of the cohort's manifest"


@dataclass(frozen=True, eq=False)
class Labels:
    """(N,) each. subjects: whose scan it is; sexes F or M; sdmt in points, NaN where there is none.

    sdmt_evidence: where the scores come from, as the manifest of a bundle says it. volumes: (N, V) regional volumes as
    shares of the intracranial volume, None where there are none.
    """

    subjects: Texts
    ages_years: Floats
    sexes: Texts
    sites: Texts
    sdmt: Floats
    sdmt_evidence: str
    volumes: Floats | None

    def __len__(self) -> int:
        return len(self.ages_years)

    @property
    def with_sdmt(self) -> npt.NDArray[np.bool_]:
        """Whose score is known."""
        return np.asarray(np.isfinite(self.sdmt))
