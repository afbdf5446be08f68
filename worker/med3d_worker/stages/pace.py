"""How many runs to claim at once: many of what takes milliseconds, one of what takes seconds."""

from med3d_contract.work import MOST_AT_ONCE

AT_ONCE_S = 0.5
"""Work for about so long is claimed at once. An urgent run waits for no more than that, or than one run."""


class Pace:
    """Seconds per run as measured here, the slowest weighing most: it is better to claim too few than too many."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._run_s: float | None = None

    @property
    def limit(self) -> int:
        """One until something was measured."""
        if self._run_s is None:
            return 1
        return max(1, min(self._most, int(AT_ONCE_S / self._run_s)))

    def took(self, runs: int, seconds: float) -> None:
        """Note how long ``runs`` runs took together."""
        run_s = max(seconds / runs, 1e-6)
        slower = self._run_s is None or run_s > self._run_s
        self._run_s = run_s if slower else 0.5 * run_s + 0.5 * (self._run_s or run_s)
