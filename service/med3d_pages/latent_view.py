"""The run's place among the reference heads, in the two directions of the latent space that follow age."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from med3d_service.results.cases import Case

SIDE = 180.0
MOST_HEADS = 1200
AGE_BANDS = 4
"""Shades by which the heads' ages are told apart: quarters of them, the youngest first."""
MARGIN = 0.06


@dataclass(frozen=True)
class MappedHead:
    """A reference head in a square of SIDE, with the band of its age, 0 for the youngest."""

    x: float
    y: float
    band: int


@dataclass(frozen=True)
class LatentPlace:
    """The map. here: this run. bands: the ages of each shade, from and to."""

    heads: tuple[MappedHead, ...]
    here: tuple[float, float]
    bands: tuple[tuple[float, float], ...]
    people: int


def latent_place(case: Case) -> LatentPlace | None:
    """Lay out the map; None where the bundle keeps its coordinates private, or the run's latent was removed."""
    result, cohort = case.listed.run.result, case.cohort
    if result is None or result.latent is None or cohort is None or not cohort.pls_age:
        return None
    here = result.latent.map.pls_age
    columns = [(*(point[axis] for point in cohort.pls_age), here[axis]) for axis in (0, 1)]
    across, up = (_scaled(column) for column in columns)
    bands, ages = _bands(cohort.ages), cohort.ages
    step = -(-len(ages) // MOST_HEADS)
    heads = tuple(
        MappedHead(across[at], round(SIDE - up[at], 1), _band_of(ages[at], bands)) for at in range(0, len(ages), step)
    )
    return LatentPlace(heads, (across[-1], round(SIDE - up[-1], 1)), bands, len(ages))


def _scaled(values: Sequence[float]) -> list[float]:
    lowest, highest = min(values), max(values)
    width = (highest - lowest or 1.0) * (1 + 2 * MARGIN)
    first = (lowest + highest - width) / 2
    return [round((value - first) / width * SIDE, 1) for value in values]


def _bands(ages: Sequence[float]) -> tuple[tuple[float, float], ...]:
    ordered = sorted(ages)
    cuts = [ordered[round(share * (len(ordered) - 1) / AGE_BANDS)] for share in range(AGE_BANDS + 1)]
    return tuple(pairwise(cuts))


def _band_of(age: float, bands: Sequence[tuple[float, float]]) -> int:
    return next(number for number, (_, last) in enumerate(bands) if age <= last)
