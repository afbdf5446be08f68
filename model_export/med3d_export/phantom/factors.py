"""The factors behind each phantom, and how a made-up life ties them together."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PhantomSite:
    """A scanner: log_gamma bends its contrast (0: the template's)."""

    name: str
    log_gamma: float


@dataclass(frozen=True)
class PhantomDesign:
    """How strongly age and disease act on the image. Ventricles and atrophy in mm of displacement, lesions in ml.

    ventricle_mm and atrophy_mm: from the lowest age to the highest, plus a person's own deviation (``_sd_mm``). Lesions
    are log-normal about ``lesion_median_ml`` whatever the age. SDMT falls with lesions and age. own_mm: standard
    deviation of each person's own smooth shape; noise: of the image noise, the brightest tissue being 1.
    """

    ages_years: tuple[float, float] = (20.0, 80.0)
    ventricle_mm: float = 4.0
    ventricle_sd_mm: float = 0.4
    atrophy_mm: float = 2.5
    atrophy_sd_mm: float = 0.4
    lesion_median_ml: float = 4.0
    lesion_log_sd: float = 0.8
    most_lesion_ml: float = 25.0
    sdmt_at_start: float = 70.0
    sdmt_per_year: float = -0.15
    sdmt_per_log_ml: float = -9.0
    sdmt_sd: float = 3.0
    sites: tuple[PhantomSite, ...] = (PhantomSite("A", 0.0), PhantomSite("B", 0.2))
    site_sd: float = 0.02
    own_mm: float = 0.8
    noise: float = 0.02


@dataclass(frozen=True, eq=False)
class PhantomFactors:
    """The truth; each array is (N,). ``log_gamma`` is the site's bend of the contrast with the scan's own deviation."""

    ages_years: Floats
    sexes: npt.NDArray[np.str_]
    sites: npt.NDArray[np.str_]
    ventricle_mm: Floats
    atrophy_mm: Floats
    lesion_ml: Floats
    log_gamma: Floats
    sdmt: Floats

    def __len__(self) -> int:
        return len(self.ages_years)

    def columns(self) -> dict[str, npt.NDArray[np.float64] | npt.NDArray[np.str_]]:
        """Return figures by name, for a table."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def draw_factors(count: int, seed: int, design: PhantomDesign) -> PhantomFactors:
    """Return ``count`` people; ages are spread evenly, sexes and sites alternate by chance but in equal numbers."""
    chance = np.random.default_rng(seed)
    low, high = design.ages_years
    ages = chance.permutation(np.linspace(low, high, count))
    share = (ages - low) / (high - low)
    site = chance.permutation(np.arange(count) % len(design.sites))
    lesions = design.lesion_median_ml * np.exp(design.lesion_log_sd * chance.standard_normal(count))
    lesions = np.minimum(lesions, design.most_lesion_ml)
    points = design.sdmt_at_start + design.sdmt_per_year * (ages - low) + design.sdmt_per_log_ml * np.log1p(lesions)
    return PhantomFactors(
        ages_years=ages,
        sexes=chance.permutation(np.where(np.arange(count) % 2, "F", "M")),
        sites=np.array([design.sites[number].name for number in site]),
        ventricle_mm=design.ventricle_mm * share + design.ventricle_sd_mm * chance.standard_normal(count),
        atrophy_mm=design.atrophy_mm * share + design.atrophy_sd_mm * chance.standard_normal(count),
        lesion_ml=lesions,
        log_gamma=np.array([design.sites[number].log_gamma for number in site])
        + design.site_sd * chance.standard_normal(count),
        sdmt=np.clip(points + design.sdmt_sd * chance.standard_normal(count), 0.0, 110.0),
    )
