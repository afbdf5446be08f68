"""How often and how much at once one caller may ask. Counted in each API process by itself, and forgotten with it."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.trust.access.addresses import owner_of
from med3d_service.trust.access.roles import Caller, Role

BUSY_RETRY_S = 1.0


class Throttle:
    """Turns callers away who ask for more than their share. Workers are not counted: they wait for nobody's sake."""

    def __init__(self, settings: Settings) -> None:
        self._parallel = settings.parallel_requests
        self._rate = RateLimitItemPerMinute(settings.requests_per_minute) if settings.requests_per_minute else None
        self._failures = RateLimitItemPerMinute(settings.failed_keys_per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._lock, self._busy = threading.Lock(), Counter[str]()

    def admit(self, caller: Caller, scope: Scope) -> None:
        """Count a request of ``caller``. Raises ServiceError: too_many_requests."""
        if caller.role is Role.WORKER:
            return
        who = f"{caller.kind}:{caller.name}"
        if self._rate is not None and not self._limiter.hit(self._rate, who):
            raise ServiceError("too_many_requests", retry_after_s=self._wait_s(self._rate, who))
        with self._lock:
            if self._parallel and self._busy[who] >= self._parallel:
                raise ServiceError("too_many_requests", "Too many requests at once.", retry_after_s=BUSY_RETRY_S)
            self._busy[who] += 1
        scope.setdefault("state", {})["busy_as"] = who

    def note_failure(self, address: str) -> None:
        """Count a key or token that opens nothing. Raises ServiceError: too_many_requests, once there were too many.

        Keys that work are taken from that address all the same: many may stand behind it.
        """
        who = "failed", owner_of(address)
        if not self._limiter.hit(self._failures, *who):
            raise ServiceError("too_many_requests", retry_after_s=self._wait_s(self._failures, *who))

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Wrap ``app`` so that a request counts as under way until its answer has been sent."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            with self._released(scope):
                await app(scope, receive, send)

        return watched

    @contextmanager
    def _released(self, scope: Scope) -> Iterator[None]:
        try:
            yield
        finally:
            who = scope.get("state", {}).pop("busy_as", None)
            if who is not None:
                with self._lock:
                    self._busy[who] -= 1
                    self._busy += Counter()  # drops those that are at zero

    def _wait_s(self, rate: RateLimitItemPerMinute, *who: str) -> float:
        import time

        return max(1.0, self._limiter.get_window_stats(rate, *who).reset_time - time.time())
