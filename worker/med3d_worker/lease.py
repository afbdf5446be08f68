"""Keeps the leases of attempts in work alive, and notices when they are over."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

import structlog

from med3d_contract.client import ApiError, ApiUnavailable, Superseded
from med3d_contract.work import Heartbeat

log = structlog.get_logger()


class TakesHeartbeats(Protocol):
    """The part of WorkerClient that is needed here."""

    def heartbeat(self, run_id: str, heartbeat: Heartbeat) -> None:
        """Raises Superseded when the attempt is over."""
        ...


class LeaseKeeper:
    """A thread that sends a heartbeat for each attempt every ``every_s`` seconds, and at once when the stage changes.

    An API that does not answer is no reason to stop: it gives leases a grace period when it is back.
    """

    def __init__(self, client: TakesHeartbeats, attempts: Mapping[str, int], every_s: float, stage: str) -> None:
        self._client = client
        self._attempts = dict(attempts)
        self._every_s = every_s
        self._stage = stage
        self._over: set[str] = set()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeats", daemon=True)

    def enter_stage(self, stage: str) -> None:
        """Say what is being done now. Raises Superseded when every attempt is over: nobody works for nothing."""
        if len(self._over) == len(self._attempts):
            raise Superseded("a newer attempt exists")
        self._stage = stage
        self._wake.set()

    def is_over(self, run_id: str) -> bool:
        """Whether the API said that this attempt has been overtaken."""
        return run_id in self._over

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._wake.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stopped.is_set():
            for run_id, attempt in self._attempts.items():
                if run_id not in self._over:
                    self._send(run_id, attempt)
            self._wake.wait(self._every_s)
            self._wake.clear()

    def _send(self, run_id: str, attempt: int) -> None:
        try:
            self._client.heartbeat(run_id, Heartbeat(attempt=attempt, stage=self._stage))
        except Superseded:
            self._over.add(run_id)
        except (ApiUnavailable, ApiError) as error:
            log.warning("heartbeat_not_taken", run_id=run_id, attempt=attempt, error=type(error).__name__)
