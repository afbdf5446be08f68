"""Appending to the trail and proving it: a chain of HMAC-SHA256, under a key that derives from the site key.

Who can write to the database but has not the site key can neither change, remove, add nor reorder entries unnoticed.
Putting back an older state of the whole trail is noticed by its last entry having been noted elsewhere: in the sealed
counter (trust.establishing), by hand, and by the syslog receiver for every entry.
"""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from med3d_service.storage.database import Database, now_of
from med3d_service.storage.same_secret import is_same_secret
from med3d_service.trust.audit.events import AuditEvent
from med3d_service.trust.audit.tables import AuditHeadRow, AuditRow

log = structlog.get_logger()
ROWS_AT_ONCE = 1000
DROPPED_AT_ONCE = 10_000
ONE = 1


class TrailBrokenError(Exception):
    """The trail is not what was written. ``seq`` is the first entry that does not fit."""

    def __init__(self, seq: int, what: str) -> None:
        super().__init__(f"entry {seq}: {what}")
        self.seq = seq


@dataclass(frozen=True)
class TrailEnd:
    """The last entry, to be noted elsewhere: later trails must contain it."""

    seq: int
    mac: str
    entries: int


@dataclass
class _Waiting:
    event: AuditEvent
    done: bool = False
    error: Exception | None = None


class AuditTrail:
    """Appends within the caller's transaction, or in one of its own that is shared by all who wait."""

    def __init__(self, database: Database, key: bytes, older: Sequence[tuple[int, bytes]] = ()) -> None:
        """``older``: what proves entries up to a number, oldest first; nothing is written with these keys.

        Who knows one of them can change none of its entries: the first entry under the next key seals their end.
        """
        self._database, self._key, self._older = database, key, tuple(older)
        self._waiting: list[_Waiting] = []
        self._forwarded_here = 0
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def record(self, event: AuditEvent) -> None:
        """Have ``event`` on disk; who calls at the same time shares a transaction. Raises what the database raises."""
        mine = _Waiting(event)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                self._write_all_that_wait()
        if mine.error is not None:
            raise mine.error

    def _write_all_that_wait(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        error: Exception | None = None
        try:
            with self._database.write() as session:
                self.append(session, *(one.event for one in batch))
        except Exception as raised:  # noqa: BLE001 - raised again for each who waits
            error = raised
        for one in batch:
            one.done, one.error = True, error

    def append(self, session: Session, *events: AuditEvent) -> None:
        """Add entries in the caller's transaction: what is undone with it was not done."""
        head = self._locked_head(session)
        sealed = self._is_sealed(head)
        now = now_of(session)
        for event in events:
            row = _row(event, head.last_seq + 1, now)
            row.mac = self._mac(head.last_mac, row)
            session.add(row)
            head.last_seq, head.last_mac = row.seq, row.mac
        self._seal_again(head, sealed=sealed)
        session.flush()

    def end(self, session: Session) -> TrailEnd:
        """Read where the trail ends now."""
        head = session.get_one(AuditHeadRow, ONE)
        return TrailEnd(head.last_seq, head.last_mac, head.last_seq - head.first_seq + 1)

    def holds(self, session: Session, noted: TrailEnd) -> bool:
        """Say whether an end that was noted is in the trail still, or went with what retention removed."""
        head = session.get_one(AuditHeadRow, ONE)
        if noted.seq < head.first_seq:
            return self._is_sealed(head) and (noted.seq < head.first_seq - 1 or noted.mac == head.first_mac)
        row = session.get(AuditRow, noted.seq)
        return row is not None and row.mac == noted.mac

    def noted_number(self, session: Session) -> int:
        """Read the sealed counter's number as the trail knows it; 0 before there was one."""
        return session.get_one(AuditHeadRow, ONE).counter

    def note_number(self, session: Session, number: int) -> None:
        """Let the trail know the sealed counter's number: an older counter is noticed."""
        head = self._locked_head(session)
        sealed = self._is_sealed(head)
        head.counter = max(number, head.counter)
        self._seal_again(head, sealed=sealed)

    def forwarded(self, session: Session) -> int:
        """Read up to which entry the receiver has them; where the head was changed, what this process has sent."""
        head = session.get_one(AuditHeadRow, ONE)
        return head.forwarded_seq if self._is_sealed(head) else self._forwarded_here

    def note_forwarded(self, session: Session, seq: int) -> None:
        """Note that the receiver has all entries up to ``seq``."""
        head = self._locked_head(session)
        sealed = self._is_sealed(head)
        head.forwarded_seq = self._forwarded_here = seq
        self._seal_again(head, sealed=sealed)

    def drop_before(self, session: Session, at: float) -> int:
        """Remove the first entries as far as they are older than ``at``, at most DROPPED_AT_ONCE; how many went.

        The rest goes on proving itself. What goes must have proven itself: of entries that were made to look old, or
        stand in the place of others, nobody could say so afterwards. Raises TrailBrokenError, and removes nothing.
        """
        head = self._locked_head(session)
        if not self._is_sealed(head):
            raise TrailBrokenError(head.last_seq, "the trail's head was changed")
        first, mac = head.first_seq, head.first_mac
        for row in entries(session, first - 1, DROPPED_AT_ONCE):
            if row.seq != first:
                raise TrailBrokenError(first, "it is missing, or one stands in its place")
            checked = self._checked(row, mac)
            if row.at >= at:
                break
            first, mac = first + 1, checked
        gone = first - head.first_seq
        if gone:
            session.execute(delete(AuditRow).where(AuditRow.seq < first))
            head.first_seq, head.first_mac = first, mac
            self._seal_again(head, sealed=True)
        return gone

    def verify(self, *noted: TrailEnd) -> TrailEnd:
        """Prove every entry; those that were ``noted`` must be among them. Raises TrailBrokenError."""
        with self._database.read() as session:
            _see_one_moment(session)
            head = session.get(AuditHeadRow, ONE)
            if head is None:
                raise TrailBrokenError(0, "the trail's head is gone")
            if not self._is_sealed(head):
                raise TrailBrokenError(head.last_seq, "the trail's head was changed")
            expected, mac = head.first_seq, head.first_mac
            unmet = {one.seq: one.mac for one in noted if one.seq >= head.first_seq}
            for row in entries(session):
                if row.seq != expected:
                    raise TrailBrokenError(expected, "it is missing, or one stands in its place")
                mac = self._checked(row, mac)
                expected += 1
                if unmet.get(row.seq) == row.mac:
                    del unmet[row.seq]
            if (expected - 1, mac) != (head.last_seq, head.last_mac):
                raise TrailBrokenError(expected, "the end of the trail is missing")
            if unmet:
                raise TrailBrokenError(
                    min(unmet), "it is not the one that was noted: an older state of the trail was put back"
                )
        return TrailEnd(head.last_seq, head.last_mac, head.last_seq - head.first_seq + 1)

    def take_over(self, session: Session, before: "AuditTrail") -> None:
        """Seal the head under this trail's key where ``before`` had sealed it; one that was changed goes on showing."""
        head = self._locked_head(session)
        if not self._is_sealed(head):
            self._seal_again(head, sealed=before._is_sealed(head))  # noqa: SLF001 - its own

    def _checked(self, row: AuditRow, before: str) -> str:
        if not is_same_secret(row.mac, self._mac(before, row)):
            raise TrailBrokenError(row.seq, "it was changed")
        return row.mac

    def _locked_head(self, session: Session) -> AuditHeadRow:
        """Return the head, which only one transaction at a time may hold."""
        return session.get_one(AuditHeadRow, ONE, with_for_update=True, populate_existing=True)

    def _mac(self, before: str, row: AuditRow) -> str:
        said = [before, row.seq, row.at, row.actor_kind, row.actor, row.role, row.address, row.action, row.outcome]
        key = next((key for last, key in self._older if row.seq <= last), self._key)
        return self._hmac("entry", [*said, row.object_kind, row.object_id, row.detail], key)

    def _is_sealed(self, head: AuditHeadRow) -> bool:
        if (head.first_seq, head.last_seq, head.seal, head.forwarded_seq, head.counter) == (1, 0, "", 0, 0):
            return True  # never used
        if is_same_secret(head.seal, self._hmac("sealed head", _said_of(head))):
            return True
        # Releases up to 0.2.0 sealed less, and had no counter.
        return head.counter == 0 and is_same_secret(head.seal, self._hmac("head", _said_of(head)[:4]))

    def _seal_again(self, head: AuditHeadRow, *, sealed: bool) -> None:
        """Seal what the head says now; one that was changed past us goes on showing that it was."""
        if not sealed:
            log.error("integrity_alert", code="trail_head_changed", object_kind="audit_trail")
        head.seal = self._hmac("sealed head" if sealed else "changed head", _said_of(head))

    def _hmac(self, kind: str, values: Sequence[object], key: bytes | None = None) -> str:
        text = json.dumps([kind, *values], ensure_ascii=True, separators=(",", ":"))
        return hmac.new(key or self._key, text.encode(), hashlib.sha256).hexdigest()


def entries(session: Session, after: int = 0, limit: int | None = None) -> Iterator[AuditRow]:
    """Return entries in order, from the one behind ``after`` on; a few at a time are in memory."""
    query = select(AuditRow).where(AuditRow.seq > after).order_by(AuditRow.seq).limit(limit)
    for row in session.scalars(query.execution_options(yield_per=ROWS_AT_ONCE)):
        session.expunge(row)
        yield row


def _see_one_moment(session: Session) -> None:
    """Read head and entries as of one moment, while others append. SQLite's transactions do."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def _row(event: AuditEvent, seq: int, now: float) -> AuditRow:
    return AuditRow(
        seq=seq,
        at=now,
        actor_kind=event.actor.kind,
        actor=_storable(event.actor.name, 200),
        role=event.actor.role,
        address=_storable(event.actor.address, 100),
        action=event.action,
        outcome=event.outcome,
        object_kind=event.object_kind,
        object_id=_storable(event.object_id, 100),
        detail=event.detail_text,
    )


def _storable(text: str, longest: int) -> str:
    """Return what every database takes and gives back unchanged: PostgreSQL takes no NUL."""
    return text.encode("ascii", "backslashreplace").decode().replace("\0", "\\0")[:longest]


def _said_of(head: AuditHeadRow) -> list[object]:
    return [head.first_seq, head.first_mac, head.last_seq, head.last_mac, head.forwarded_seq, head.counter]
