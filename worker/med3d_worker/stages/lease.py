"""Keeps the leases of attempts in work alive, and notices when they are over."""

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

import structlog

from med3d_client.worker import ApiError, ApiUnavailable, Superseded
from med3d_contract.work import ActiveAttempt, Heartbeat

log = structlog.get_logger()

SETTLE_S = 0.2
"""A stage that is over sooner is not told: a request would cost more than it says."""


class TakesHeartbeats(Protocol):
    """The part of WorkerClient that is needed here."""

    def heartbeat(self, heartbeat: Heartbeat) -> frozenset[str]:
        """Renew leases; the runs whose attempt is over."""
        ...


class LeaseKeeper:
    """Renews all attempts before work begins, then by a thread every ``every_s`` seconds and soon after a stage begins.

    The first renewal tells the API that the claim's answer has come: from then on the worker's loss is the run's try.
    An API that does not answer is no reason to stop: it gives leases a grace period when it is back.
    """

    def __init__(
        self, client: TakesHeartbeats, attempts: Mapping[str, int], every_s: float, settle_s: float = SETTLE_S
    ) -> None:
        self._client = client
        self._every_s, self._settle_s = every_s, settle_s
        self._attempts = dict(attempts)
        self._stages: dict[str, str] = {}
        self._over: set[str] = set()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeats", daemon=True)

    def stage_teller(self, run_id: str) -> Callable[[str], None]:
        """Give what says what is being done for ``run_id`` now.

        It raises Superseded when that attempt is over: nobody works for nothing.
        """

        def tell(stage: str) -> None:
            if self.is_over(run_id):
                raise Superseded("a newer attempt exists")
            self._stages[run_id] = stage
            self._wake.set()

        return tell

    def is_over(self, run_id: str) -> bool:
        """Tell whether the API said that this attempt has been overtaken."""
        return run_id in self._over

    def __enter__(self) -> Self:
        self._send()  # not by the thread: a study that kills its worker at once must have been begun
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._wake.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(self._every_s)
            if self._stopped.wait(min(self._settle_s, self._every_s)):
                return
            self._wake.clear()
            self._send()

    def _send(self) -> None:
        stages = dict(self._stages)
        held = tuple(
            ActiveAttempt(run_id=run_id, attempt=attempt, stage=stages.get(run_id))
            for run_id, attempt in self._attempts.items()
            if run_id not in self._over
        )
        if not held:
            return
        try:
            self._over |= self._client.heartbeat(Heartbeat(held=held))
        except (ApiUnavailable, ApiError, Superseded) as error:
            log.warning("heartbeat_not_taken", runs=len(held), error=type(error).__name__)
