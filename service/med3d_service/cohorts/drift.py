"""Whether what comes in has changed: quality and place in the latent space, newest month against before, by origin."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, stdev

from med3d_contract.results import Frozen

RECENT_S = 30 * 86400.0
FEWEST = 10
"""Scans on each side below which nothing is said."""
NOTABLE_SHIFT = 0.5
NOTABLE_Z = 3.0


class MeasureDrift(Frozen):
    """One measure of one origin. shift: difference of means in standard deviations of before (Glass's delta).

    notable: the shift is at least 0.5, and at least three standard errors from 0 (Welch).
    """

    measure: str
    before: float
    recent: float
    shift: float
    notable: bool


class OriginDrift(Frozen):
    """Scans of one site and scanner: how many in the last 30 days and before, and what changed between."""

    scan_site: str | None
    scanner: str | None
    before: int
    recent: int
    measures: tuple[MeasureDrift, ...]


@dataclass
class _Origin:
    counts: list[int] = field(default_factory=lambda: [0, 0])
    values: dict[str, tuple[list[float], list[float]]] = field(default_factory=lambda: defaultdict(lambda: ([], [])))


class DriftWatch:
    """Takes scans one by one; memory grows with the numbers alone."""

    def __init__(self, now: float) -> None:
        self._recent_from = now - RECENT_S
        self._origins: dict[tuple[str | None, str | None], _Origin] = defaultdict(_Origin)

    def add(
        self, scan_site: str | None, scanner: str | None, received_at: float, measures: Mapping[str, float | None]
    ) -> None:
        """Take a scan. What could not be measured (None) counts for its measure on neither side."""
        side = 1 if received_at >= self._recent_from else 0
        origin = self._origins[scan_site, scanner]
        origin.counts[side] += 1
        for name, value in measures.items():
            if value is not None:
                origin.values[name][side].append(value)

    def found(self) -> tuple[OriginDrift, ...]:
        """Return every origin, those with scans of the last month first."""
        origins = [
            OriginDrift(
                scan_site=scan_site,
                scanner=scanner,
                before=origin.counts[0],
                recent=origin.counts[1],
                measures=tuple(_drifts(origin.values.items())),
            )
            for (scan_site, scanner), origin in self._origins.items()
        ]
        return tuple(sorted(origins, key=lambda one: (-one.recent, -one.before, str(one.scan_site), str(one.scanner))))


def _drifts(values: Iterable[tuple[str, tuple[list[float], list[float]]]]) -> Iterable[MeasureDrift]:
    for name, (before, recent) in sorted(values):
        if min(len(before), len(recent)) < FEWEST:
            continue
        spread = stdev(before)
        if spread == 0:
            continue
        difference = fmean(recent) - fmean(before)
        error = math.sqrt(spread**2 / len(before) + stdev(recent) ** 2 / len(recent))
        yield MeasureDrift(
            measure=name,
            before=fmean(before),
            recent=fmean(recent),
            shift=difference / spread,
            notable=abs(difference / spread) >= NOTABLE_SHIFT and abs(difference) >= NOTABLE_Z * error,
        )
