"""Callers that were turned away, in the audit trail: one entry for each address and reason in a minute, few in all."""

import threading
import time
from collections.abc import Callable

import structlog

from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail, Outcome

log = structlog.get_logger()
SAME_AGAIN_S = 60.0
MOST_IN_A_MINUTE = 60


class Rejections:
    """Notes who was turned away and why. A flood of strangers fills no disk: the log counts all of them."""

    def __init__(self, trail: AuditTrail, clock: Callable[[], float] = time.monotonic) -> None:
        self._trail, self._clock = trail, clock
        self._lock = threading.Lock()
        self._noted_at: dict[tuple[str, str], float] = {}

    def note(self, because: str, address: str, ae_title: str = "") -> None:
        """Record one, unless the same was recorded a moment ago. A database that is away stops no listener."""
        if not self._is_due(because, address):
            return
        actor = Actor("peer", ae_title or "unknown", address=address)
        event = AuditEvent(actor, Action.ENTER, Outcome.DENIED, object_kind="association", detail={"reason": because})
        try:
            self._trail.record(event)
        except Exception as error:  # noqa: BLE001 - the edge: the next caller is to be served
            log.warning("rejection_not_audited", kind=type(error).__name__)

    def _is_due(self, because: str, address: str) -> bool:
        now = self._clock()
        with self._lock:
            self._noted_at = {who: at for who, at in self._noted_at.items() if now - at < SAME_AGAIN_S}
            if (because, address) in self._noted_at or len(self._noted_at) >= MOST_IN_A_MINUTE:
                return False
            self._noted_at[because, address] = now
            return True
