"""How a process of the service learns that it should stop."""

import signal
import threading


class StopSignal:
    """Set by SIGTERM or SIGINT. Made in the main thread of a process that does nothing else with them."""

    def __init__(self) -> None:
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._event.set())

    def wait(self, seconds: float) -> bool:
        """Pause for ``seconds`` or until the signal comes; whether it has come."""
        return self._event.wait(seconds)

    @property
    def is_set(self) -> bool:
        """Whether the process should stop."""
        return self._event.is_set()
