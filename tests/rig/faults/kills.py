"""SIGKILL of the service's processes at moments that a seed decides, so that a round that went wrong can be had again."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import psutil

GATEWAY = ("listener", "api", "worker", "broker")
EVERYBODY = (*GATEWAY, "worker child", "courier", "scheduler", "deliverer", "fetcher")


class KillableService(Protocol):
    """What has processes of those names."""

    def process_named(self, name: str) -> psutil.Process:
        """The process that has this name, once there is one."""


@dataclass(frozen=True)
class Kill:
    """``victim`` is a name of ``Service.process_named``; ``after_s`` counts from the start of the round."""

    victim: str
    after_s: float


class KillPlan:
    """Rounds of kills that follow from the seed.

    Victims are dealt from a shuffled deck, as often one as the other: a supervisor rightly gives up on a process that
    dies again and again in its first seconds, and rolling dice would do that to it.
    """

    def __init__(
        self, seed: int, victims: Sequence[str] = EVERYBODY, *, within_s: float, most_at_once: int = 2
    ) -> None:
        self._random = random.Random(seed)
        self._victims = tuple(victims)
        self._within_s = within_s
        self._most_at_once = most_at_once
        self._deck: list[str] = []

    def next_round(self) -> tuple[Kill, ...]:
        """The kills of one round, in their order."""
        count = self._random.randint(1, self._most_at_once)
        # Squared: half of them in the first quarter, while studies are sent.
        kills = [Kill(self._deal(), self._within_s * self._random.random() ** 2) for _ in range(count)]
        return tuple(sorted(kills, key=lambda kill: kill.after_s))

    def _deal(self) -> str:
        if not self._deck:
            self._deck = self._random.sample(self._victims, len(self._victims))
        return self._deck.pop()


class Killing:
    """Carries one round of kills out on a thread; as a context it ends when all of them have been."""

    def __init__(self, service: KillableService, kills: Sequence[Kill]) -> None:
        self._service = service
        self._kills = kills
        self._thread = threading.Thread(target=self._run, name="killing")
        self._failed: Exception | None = None

    def _run(self) -> None:
        began = time.monotonic()
        try:
            for kill in self._kills:
                time.sleep(max(0.0, began + kill.after_s - time.monotonic()))
                self._service.process_named(kill.victim).kill()
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the thread
            self._failed = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.join()
        if self._failed is not None and error is None:
            raise self._failed
