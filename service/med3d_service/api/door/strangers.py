"""How fast those are answered who show no key that opens anything: each answer costs the time of who is known."""

import asyncio
import time
from collections.abc import Callable

ANSWERS_PER_S = 50.0
AT_ONCE = 50
LONGEST_WAIT_S = 2.0
"""Whoever asks by mistake is answered all the same; whoever never stops asking waits as long for each answer."""


class Strangers:
    """Turns of those who are refused unknown, in one API process. The event loop's thread alone asks for them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._next_at = clock, float("-inf")

    def turn_s(self) -> float:
        """Take a turn; how long it is until then."""
        now = self._clock()
        self._next_at = max(self._next_at, now - AT_ONCE / ANSWERS_PER_S)
        if self._next_at - now < LONGEST_WAIT_S:
            self._next_at += 1 / ANSWERS_PER_S
        return min(LONGEST_WAIT_S, max(0.0, self._next_at - now))

    async def wait(self) -> None:
        """Wait for a turn."""
        if (wait_s := self.turn_s()) > 0:
            await asyncio.sleep(wait_s)
