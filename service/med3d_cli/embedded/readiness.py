"""Waits for /readyz, and says what is still missing."""

import time
from collections.abc import Callable

import httpx

from med3d_cli.errors import CommandError

LONGEST_START_S = 300.0
SAY_EVERY_S = 5.0
ASK_EVERY_S = 0.25


class Readiness:
    """Asked a few times a second by the supervisor.

    Calls ``on_ready`` once; raises CommandError when it takes too long.
    """

    def __init__(
        self,
        url: str,
        on_ready: Callable[[], None],
        say: Callable[[str], None],
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = httpx.Client(base_url=url, timeout=2.0, transport=transport)
        self._clock = clock
        self._on_ready = on_ready
        self._say = say
        self._started_at = self._said_at = clock()
        self._asked_at = float("-inf")
        self._ready = False

    def __call__(self) -> None:
        """Look once."""
        now = self._clock()
        if self._ready or now - self._asked_at < ASK_EVERY_S:
            return
        self._asked_at = now
        missing = self._missing()
        if not missing:
            self._ready = True
            self._http.close()
            self._on_ready()
        elif now - self._started_at > LONGEST_START_S:
            raise CommandError(f"not ready after {LONGEST_START_S:.0f} s; still missing: {', '.join(missing)}")
        elif now - self._said_at > SAY_EVERY_S:
            self._said_at = now
            self._say(f"starting; waiting for: {', '.join(missing)}")

    def _missing(self) -> list[str]:
        """Return names of what is not ready; empty when all is."""
        try:
            answer = self._http.get("/readyz")
            if answer.is_success:
                return []
            checks = {name: check for name, check in answer.json().items() if isinstance(check, dict)}
            return [name for name, check in checks.items() if not check["ok"]] or ["api"]
        except (httpx.TransportError, ValueError, KeyError, TypeError, AttributeError):
            return ["api"]
