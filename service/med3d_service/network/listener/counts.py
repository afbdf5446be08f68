"""What the listener counts, for metrics and for GET /arrivals: written now and then, never once for each caller."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import structlog

from med3d_service.storage.counters import MOST_CALLERS, add_to_counters, note_turned_away
from med3d_service.storage.database import Database, now_of

log = structlog.get_logger()
PAUSE_S = 2.0


class ListenerCounts:
    """Safe to share between threads."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._callers: Counter[tuple[str, str, str]] = Counter()
        self._written_at = float("-inf")

    def association(self, how: str) -> None:
        """Count an association by how it ended."""
        with self._lock:
            self._counts["associations", how] += 1

    def turned_away(self, reason: str, address: str, ae_title: str = "") -> None:
        """Count a caller who got no association."""
        with self._lock:
            self._counts["rejections", reason] += 1
            if len(self._callers) < MOST_CALLERS or (reason, address, ae_title) in self._callers:
                self._callers[reason, address, ae_title] += 1

    def write_if_due(self) -> None:
        """Write what was counted, unless that was done a moment ago."""
        if self._clock() - self._written_at >= PAUSE_S:
            self.write()

    def write(self) -> None:
        """Write what was counted. A database that is away stops no listener: it is written later."""
        with self._lock:
            counts, callers = self._counts, self._callers
            self._counts, self._callers = Counter(), Counter()
            self._written_at = self._clock()
        if not counts:
            return
        try:
            with self._database.write() as session:
                add_to_counters(session.connection(), counts)
                note_turned_away(session, callers, now_of(session))
        except Exception as error:  # noqa: BLE001 - the edge: the next caller is to be served
            log.warning("counts_not_written", kind=type(error).__name__)
            with self._lock:
                self._counts.update(counts)
                self._callers.update(callers)
