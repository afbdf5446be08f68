"""The people whom a model is trained on and measured with: one row per scan, one subject perhaps in several rows."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from med3d_contract.manifest_row import ManifestError

Texts = npt.NDArray[np.str_]
Floats = npt.NDArray[np.float64]


class CohortError(ManifestError):
    """The cohort is wrong; ``problems`` holds one line per fault that names the manifest's row (header: row 1)."""


@dataclass(frozen=True)
class CohortSubject:
    """One row. age in years at the scan; sex F or M; t1w an existing NIfTI file; scanner and visit "" where unknown.

    sdmt: Symbol Digit Modalities Test, 0 to 110 points; NaN where it was not taken.
    """

    row: int
    participant_id: str
    age_years: float
    sex: str
    site: str
    t1w: Path
    scanner: str = ""
    sdmt: float = float("nan")
    visit: str = ""


@dataclass(frozen=True)
class Cohort:
    """Rows in the manifest's order; every array is (N,)."""

    subjects: tuple[CohortSubject, ...]

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def participant_ids(self) -> Texts:
        """Who it is: rows of one subject share it."""
        return np.array([subject.participant_id for subject in self.subjects])

    @property
    def ages_years(self) -> Floats:
        """Years at the scan."""
        return np.array([subject.age_years for subject in self.subjects])

    @property
    def sexes(self) -> Texts:
        """F or M."""
        return np.array([subject.sex for subject in self.subjects])

    @property
    def sites(self) -> Texts:
        """Where the scan was made."""
        return np.array([subject.site for subject in self.subjects])

    @property
    def scanners(self) -> Texts:
        """What it was made with; "" where the manifest does not say."""
        return np.array([subject.scanner for subject in self.subjects])

    @property
    def visits(self) -> Texts:
        """Which of a subject's scans it is; "" where there is one."""
        return np.array([subject.visit for subject in self.subjects])

    @property
    def sdmt(self) -> Floats:
        """Points, 0 to 110; NaN where the test was not taken."""
        return np.array([subject.sdmt for subject in self.subjects])

    def spread_over_ages(self, count: int) -> list[int]:
        """Return the rows of ``count`` people's first scans, from the youngest to the oldest in even steps of rank."""
        first: dict[str, int] = {}
        for place, subject in enumerate(self.subjects):
            first.setdefault(subject.participant_id, place)
        by_age = sorted(first.values(), key=lambda place: self.subjects[place].age_years)
        return [by_age[rank] for rank in np.linspace(0, len(by_age) - 1, count).round().astype(int)]

    def digest(self) -> str:
        """Return sha256 of who is in it, whatever the order of rows: what a stored split belongs to."""
        said = sorted(f"{subject.participant_id}\t{subject.visit}" for subject in self.subjects)
        return hashlib.sha256("\n".join(said).encode()).hexdigest()
