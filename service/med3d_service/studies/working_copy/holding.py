"""Keeping a study in a courier's hands beside the work on it: neither a slow store nor a slow disk ends a lease."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger()


class OvertakenError(Exception):
    """The study is not in these hands any more: another courier has it, or more of it has come."""


class Hold:
    """Renews a lease every ``every_s`` in a thread of its own, until ``renew`` says that it is lost."""

    def __init__(self, renew: Callable[[], bool], every_s: float) -> None:
        self._renew, self._every_s = renew, every_s
        self._ended, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="hold", daemon=True)

    def __enter__(self) -> Self:
        """Begin to renew."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Renew no more; no renewal is under way afterwards."""
        self._ended.set()
        self._thread.join()

    @property
    def is_lost(self) -> bool:
        """Whether the study was found in other hands."""
        return self._lost.is_set()

    def check(self) -> None:
        """Raise OvertakenError where the study is in other hands."""
        if self.is_lost:
            raise OvertakenError

    def _keep(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                kept = self._renew()
            except Exception:  # the edge of this thread: a database that is away comes back, or the lease ends
                log.exception("lease_not_renewed")
            else:
                if not kept:
                    self._lost.set()
                    return
