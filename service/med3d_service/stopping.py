"""How a process of the service learns that it should stop, and shows that it still goes round."""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SHOWN_EVERY_S = 5.0


class StopSignal:
    """Set by SIGTERM or SIGINT. Made in the main thread of a process that does nothing else with them.

    Whoever asks for it goes round: the time of ``alive_file`` says when that was last (for health checks).
    """

    def __init__(self, alive_file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = threading.Event()
        self._alive_file, self._clock = alive_file, clock
        self._shown_at = float("-inf")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._event.set())

    def wait(self, seconds: float) -> bool:
        """Pause for ``seconds`` or until the signal comes; whether it has come."""
        self._show_life()
        return self._event.wait(seconds)

    @property
    def is_set(self) -> bool:
        """Whether the process should stop."""
        self._show_life()
        return self._event.is_set()

    def _show_life(self) -> None:
        now = self._clock()
        if self._alive_file is None or now - self._shown_at < SHOWN_EVERY_S:
            return
        self._shown_at = now
        with suppress(OSError):  # a full disk stops no work
            self._alive_file.touch(mode=0o640)
