"""Rows that grant or prove carry an HMAC: what was written past the service is seen where it would count, and told.

A database with a guard seals such rows as they are flushed. A row that was forged stays so, whatever else is changed in
it afterwards.
"""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

from med3d_service.storage.same_secret import is_same_secret
from med3d_service.storage.sealed_counter import SealedCounter
from med3d_service.storage.tables import SealedRow

log = structlog.get_logger()
TOLD_AGAIN_S = 3600.0


class Guard:
    """Seals rows and judges them. ``forged`` is told of each that is not ours, once an hour, outside a transaction."""

    def __init__(
        self, key: bytes, counter: SealedCounter, forged: Callable[[str, str], None] = lambda _kind, _id: None
    ) -> None:
        self._key, self.counter, self.forged = key, counter, forged
        self._lock = threading.Lock()
        self._untold: list[tuple[str, str]] = []
        self._told_at: dict[tuple[str, str], float] = {}

    def seal_changes(self, session: Session, _context: object, _instances: object) -> None:
        """Seal what is about to be written, but nothing that was forged before."""
        for row in session.new:
            if isinstance(row, SealedRow):
                row.seal = self.seal_of(row)
        for row in session.dirty:
            if isinstance(row, SealedRow) and session.is_modified(row) and self._was_ours(row):
                row.seal = self.seal_of(row)

    def seal_of(self, row: SealedRow) -> str:
        """Return the HMAC of a row as it is now."""
        return self._hmac(row.SEALED_AS, [getattr(row, name) for name in row.SEALED_COLUMNS])

    def is_genuine(self, row: SealedRow) -> bool:
        """Say whether the row is as the service wrote it; one that is not will be told of."""
        if is_same_secret(row.seal or "", self.seal_of(row)):
            return True
        self.note_forged(row.SEALED_AS, str(getattr(row, row.SEALED_COLUMNS[0])))
        return False

    def note_forged(self, kind: str, row_id: str) -> None:
        """Keep in mind what ``tell`` will say."""
        with self._lock:
            if time.monotonic() - self._told_at.get((kind, row_id), float("-inf")) >= TOLD_AGAIN_S:
                self._told_at[kind, row_id] = time.monotonic()
                self._untold.append((kind, row_id))

    def tell(self) -> None:
        """Tell of what was found."""
        with self._lock:
            untold, self._untold = self._untold, []
        for kind, row_id in untold:
            log.error("integrity_alert", code="row_forged", object_kind=kind, object_id=row_id)
            try:
                self.forged(kind, row_id)
            except Exception as error:  # noqa: BLE001 - the edge: what asked for the row must not fail for it
                log.warning("alert_not_recorded", kind=type(error).__name__)

    def _was_ours(self, row: SealedRow) -> bool:
        """Judge the row as it was loaded."""
        before = [self._loaded(row, name) for name in row.SEALED_COLUMNS]
        return is_same_secret(self._loaded(row, "seal") or "", self._hmac(row.SEALED_AS, before))

    @staticmethod
    def _loaded(row: SealedRow, name: str) -> Any:
        history = inspect(row).attrs[name].history
        return history.deleted[0] if history.deleted else getattr(row, name)

    def _hmac(self, kind: str, values: list[Any]) -> str:
        text = json.dumps(["row", kind, *map(_said, values)], ensure_ascii=True, separators=(",", ":"))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def _said(value: Any) -> Any:
    """Return a value as it is sealed: a whole number is one, whatever type the database gives it back in."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def guard_of(session: Session) -> Guard | None:
    """Return the guard of the session's database; None for one that was opened without keys."""
    return session.info.get("guard")


def is_genuine(session: Session, row: SealedRow) -> bool:
    """Say whether a row that grants or proves is as the service wrote it."""
    guard = guard_of(session)
    return guard is None or guard.is_genuine(row)


def after_commit(session: Session, then: Callable[[SealedCounter], None]) -> None:
    """Do ``then`` with the sealed counter once what the session has written is on disk."""
    guard = guard_of(session)
    if guard is not None:
        event.listen(session, "after_commit", lambda _session: then(guard.counter), once=True)
