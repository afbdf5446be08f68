"""Seconds per stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Adds up wall-clock seconds by stage name."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count what happens inside for ``stage``, failures too."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add({stage: time.perf_counter() - started})

    def add(self, timings_s: dict[str, float]) -> None:
        """Count seconds that somebody else measured."""
        for stage, seconds in timings_s.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    @property
    def timings_s(self) -> dict[str, float]:
        """Seconds by stage, to the millisecond, in the order in which the stages were first entered."""
        return {stage: round(seconds, 3) for stage, seconds in self._seconds.items()}
