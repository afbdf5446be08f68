"""Bringing rows, trail and sealed counter together: at the first start, after a restore, and when asked to prove."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_service.storage.database import Database, now_of
from med3d_service.storage.guard import Guard
from med3d_service.storage.sealed_counter import Noted
from med3d_service.storage.tables import ApiKeyRow, BundleRow, CalibrationRow, SealedRow
from med3d_service.trust.access.session_tables import SessionRow, SignInLinkRow
from med3d_service.trust.audit.alerts import alert
from med3d_service.trust.audit.events import Action, AuditEvent, process
from med3d_service.trust.audit.trail import AuditTrail, TrailBrokenError, TrailEnd

log = structlog.get_logger()
MOST_LOST_ENDS = 20


class CounterMissingError(ValueError):
    """The sealed counter is gone, or an older one than the database knows was put in its place."""


@dataclass(frozen=True)
class Revived:
    """After a restore: keys that work (by the backup), and those that the sealed counter keeps ended."""

    working: tuple[str, ...]
    kept_ended: tuple[str, ...]
    counter_was_here: bool


def establish_trust(database: Database, guard: Guard, trail: AuditTrail) -> None:
    """Seal the rows of an earlier release and make the sealed counter, once; later starts see whether it is theirs.

    Broken off anywhere, the next start ends it. Raises CounterMissingError, CounterBrokenError.
    """
    counter = guard.counter
    if counter.exists and counter.read().rows_are_sealed:
        require_counter(database, guard, trail)
        return
    with database.write() as session:
        known = trail.noted_number(session)
        if known and (not counter.exists or counter.read().number < known):
            raise CounterMissingError(_MISSING)
        if not known:
            rows = seal_rows(session, guard)
            noted = counter.change(lambda _noted: _as_it_stands(session, trail), makes=True)
            detail: dict[str, str | int] = {"change": "rows_sealed", "rows": rows}
            event = AuditEvent(process("migrate"), Action.SECURE, object_kind="sealed_counter", detail=detail)
            if rows:
                trail.append(session, event)
            trail.note_number(session, noted.number)
    counter.change(lambda _noted: {"rows_are_sealed": True})


_MISSING = (
    "the sealed counter (trust.sealed in the data folder) is gone, or an older one lies there: bring back the newest, "
    "or where it is lost for good, look through 'med3d keys list' and accept that with 'med3d audit renew-counter'"
)


def require_counter(database: Database, guard: Guard, trail: AuditTrail) -> None:
    """Raise CounterMissingError where the database knows a later counter than there is."""
    with database.read() as session:
        known = trail.noted_number(session)
    if known and (not guard.counter.exists or guard.counter.read().number < known):
        raise CounterMissingError(_MISSING)


def note_trail(database: Database, guard: Guard, trail: AuditTrail) -> bool:
    """Note the trail's end in the sealed counter, where it has moved; whether it had.

    An end that was noted before and is not in the trail any more is kept as lost, and alerted: it is what shows for
    ever after that the trail was wiped, or an older one put back, however long it grows again.
    """
    with database.read() as session:
        end = trail.end(session)
    before = guard.counter.read()
    if not guard.counter.exists or (before.trail_seq, before.trail_mac) == (end.seq, end.mac):
        return False
    with database.write() as session:
        end, lost = trail.end(session), _lost_end(session, guard.counter.read(), trail)
        if lost:
            alert(trail, session, "scheduler", "trail_rolled_back", "audit_trail", lost)
        noted = guard.counter.change(lambda noted: _moved_on(noted, end, lost))
        trail.note_number(session, noted.number)
    return True


def _lost_end(session: Session, noted: Noted, trail: AuditTrail) -> str:
    """Return the number of the entry that was noted as the trail's end, where it is not there as it was; else empty."""
    here = trail.holds(session, TrailEnd(noted.trail_seq, noted.trail_mac, 0))
    return "" if here else str(noted.trail_seq)


def _moved_on(noted: Noted, end: TrailEnd, lost: str) -> dict[str, Any]:
    lost_ends = (*noted.lost_ends, *([f"{noted.trail_seq}:{noted.trail_mac}"] if lost else []))
    return {"trail_seq": end.seq, "trail_mac": end.mac, "lost_ends": lost_ends[-MOST_LOST_ENDS:]}


def prove_trail(database: Database, guard: Guard, trail: AuditTrail, noted: TrailEnd | None = None) -> TrailEnd:
    """Prove every entry, and that the trail is not older than what the sealed counter has seen of it.

    Raises TrailBrokenError, CounterMissingError, CounterBrokenError.
    """
    require_counter(database, guard, trail)
    counted = guard.counter.read()
    if counted.lost_ends:
        seq = int(counted.lost_ends[0].partition(":")[0])
        raise TrailBrokenError(
            seq, "the sealed counter had noted it, and then an older state of the trail was put back"
        )
    seen = TrailEnd(counted.trail_seq, counted.trail_mac, 0)
    with database.read() as session:
        end = trail.end(session)
    if seen.seq > end.seq:
        raise TrailBrokenError(end.seq + 1, "the sealed counter has seen it, and it is not there any more")
    return trail.verify(*(one for one in (noted, seen) if one is not None and one.seq))


def revive(database: Database, guard: Guard, trail: AuditTrail, backup: str, *, had_seals: bool) -> Revived:
    """End, after a restore, again what the sealed counter knows as ended, and go on from the backup's end of the trail.

    had_seals: the backup is of a release that sealed its rows, so that one without a seal was written past the service.
    Where no counter is here it is made: what was ended since the backup works again, and only people can know that.
    """
    counter = guard.counter
    was_here = counter.exists
    with database.write() as session:
        if not had_seals:
            seal_rows(session, guard)
        ended = _end_again(session, counter.read()) if was_here else ()
        now = now_of(session)
        working = _working_keys(session, guard, now)
        detail: dict[str, str | int] = {"backup": backup, "working_keys": len(working), "kept_ended": len(ended)}
        trail.append(session, AuditEvent(process("restore"), Action.RESTORE, object_kind="backup", detail=detail))
        session.flush()
        before = counter.read()
        here = _as_it_stands(session, trail)
        here |= {
            "rows_are_sealed": True,
            "ended_keys": _earlier_of(before.ended_keys, here["ended_keys"]),
            "withdrawn": _earlier_of(before.withdrawn, here["withdrawn"]),
            "restored": (*before.restored, f"{backup} after {before.trail_seq}:{before.trail_mac}"),
            "number": trail.noted_number(session),
        }
        trail.note_number(session, counter.change(lambda _noted: here, makes=True).number)
    return Revived(working, ended, was_here)


def renew_counter(database: Database, guard: Guard, trail: AuditTrail) -> tuple[str, ...]:
    """Make the sealed counter anew after it was lost, by an operator's hand; the keys that work by their rows alone."""
    guard.counter.path.unlink(missing_ok=True)
    with database.write() as session:
        alert(trail, session, "renew-counter", "counter_renewed", "sealed_counter", "")
        here, known = _as_it_stands(session, trail), trail.noted_number(session)
        as_new: dict[str, Any] = {"rows_are_sealed": True, "number": known, "lost_ends": ()}
        noted = guard.counter.change(lambda _noted: here | as_new, makes=True)
        trail.note_number(session, noted.number)
        return _working_keys(session, guard, now_of(session))


def seal_rows(session: Session, guard: Guard) -> int:
    """Seal the rows that have no seal, as an earlier release left them: it trusts the database as it finds it."""
    count = 0
    for row in _unsealed(session):
        row.seal = guard.seal_of(row)
        count += 1
    session.flush()
    return count


def _unsealed(session: Session) -> Iterator[SealedRow]:
    tables: tuple[type[SealedRow], ...] = (ApiKeyRow, BundleRow, CalibrationRow, SessionRow, SignInLinkRow)
    for table in tables:
        yield from session.scalars(select(table).where(table.seal.is_(None)))


def _as_it_stands(session: Session, trail: AuditTrail) -> dict[str, Any]:
    """Return what the rows say now, for a counter that begins with it."""
    end = trail.end(session)
    default = session.scalars(select(BundleRow.digest).where(BundleRow.is_default)).first()
    return {
        "trail_seq": end.seq,
        "trail_mac": end.mac,
        "ended_keys": {
            key.prefix: key.revoked_at for key in session.scalars(select(ApiKeyRow)) if key.revoked_at is not None
        },
        "withdrawn": {
            f"{row.digest}@{row.owner}": row.withdrawn_at
            for row in session.scalars(select(CalibrationRow))
            if row.withdrawn_at is not None
        },
        "default_bundle": default or "",
    }


def _end_again(session: Session, noted: Noted) -> tuple[str, ...]:
    ended = []
    for key in session.scalars(select(ApiKeyRow).where(ApiKeyRow.prefix.in_(noted.ended_keys))):
        at = noted.ended_keys[key.prefix]
        if key.revoked_at is None and (key.expires_at is None or key.expires_at > at):
            key.expires_at = at
            ended.append(key.prefix)
    for row in session.scalars(select(CalibrationRow).where(CalibrationRow.withdrawn_at.is_(None))):
        row.withdrawn_at = noted.withdrawn.get(f"{row.digest}@{row.owner}")
    return tuple(ended)


def _earlier_of(ended: dict[str, float], also_ended: dict[str, float]) -> dict[str, float]:
    """Join when things ended: what a row says moves no end further off, for whoever wrote it may have been anybody."""
    return {name: min(one[name] for one in (ended, also_ended) if name in one) for name in ended | also_ended}


def _working_keys(session: Session, guard: Guard, now: float) -> tuple[str, ...]:
    return tuple(key.prefix for key in session.scalars(select(ApiKeyRow)) if _works(key, now) and guard.is_genuine(key))


def _works(key: ApiKeyRow, now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
