"""The database's side of arriving instances: rows of those who wait at the same moment are committed together.

An instance is acknowledged only after its row is committed, and on one disk a commit costs about as much for twenty
rows as for one. So whoever comes while a commit is under way waits, and the next commit takes all of them.
"""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import insert, or_, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from med3d_service.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.database import Database, db_now

MOST_AT_ONCE = 200
TRIES = 3
INCONSISTENT, SEVERAL_PATIENTS = "inconsistent_study", "several_patients"


@dataclass(frozen=True)
class Entry:
    """One instance that lies in the store. ``told_apart``: stored instances of its SOP UID that have other pixels."""

    site: str
    source: str
    study_index: str
    patient_index: str | None
    sop_index: str
    digest: str
    upload_id: str
    stored_sha256: str
    stored_bytes: int
    size_bytes: int
    rule: str | None
    priority: int | None
    bundle: str | None
    told_apart: frozenset[str] = frozenset()


class Finding(StrEnum):
    """What came of an entry."""

    NEW = "new"
    KNOWN = "known"
    SAME_UID = "same_uid"  # not recorded: the caller must compare the pixels first


@dataclass(frozen=True)
class Recorded:
    """``rivals``: (digest, upload id) of the instances of the same SOP UID that must be compared with."""

    finding: Finding
    arrival_id: str
    fault: str | None = None
    rivals: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False)
class _Ticket:
    entry: Entry
    called: threading.Event = field(default_factory=threading.Event)  # it has its answer, or is to lead
    answer: Recorded | None = None
    error: BaseException | None = None

    @property
    def is_answered(self) -> bool:
        return self.answer is not None or self.error is not None


class ArrivalJournal:
    """Records entries; safe among threads and among processes on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._led = False

    def record(self, entry: Entry) -> Recorded:
        """Commit one entry, together with those of others who wait. Raises what the database raises."""
        ticket = _Ticket(entry)
        with self._lock:
            self._waiting.append(ticket)
            leads, self._led = not self._led, True
        if not leads:
            ticket.called.wait()
        if not ticket.is_answered:
            self._lead()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.answer is not None
        return ticket.answer

    def _lead(self) -> None:
        """Commit all that wait, the caller's own among them; then the next who waits leads."""
        with self._lock:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
        try:
            for ticket, answer in zip(batch, self._commit([ticket.entry for ticket in batch]), strict=True):
                ticket.answer = answer
        except BaseException as error:  # noqa: BLE001 - each of those who wait must hear of it
            for ticket in batch:
                ticket.error = error
        for ticket in batch:
            ticket.called.set()
        with self._lock:
            self._led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].called.set()

    def _commit(self, entries: Sequence[Entry]) -> list[Recorded]:
        for _ in range(TRIES - 1):
            try:
                return self._committed(entries)
            except IntegrityError:  # another process was first with the same study or instance
                continue
        return self._committed(entries)

    def _committed(self, entries: Sequence[Entry]) -> list[Recorded]:
        with self._database.write() as session:
            now = session.execute(select(db_now())).scalar_one()
            arrivals = _arrivals(session, entries, now)
            known = _Known(session, [arrival.id for arrival in arrivals.values()], entries)
            rows: list[dict[str, object]] = []
            answers = [
                _judge(entry, arrivals[entry.site, entry.study_index], known, now, rows.append) for entry in entries
            ]
            session.flush()
            if rows:
                session.execute(insert(ArrivedInstanceRow), rows)
            return answers


def _arrivals(session: Session, entries: Sequence[Entry], now: float) -> dict[tuple[str, str], ArrivalRow]:
    """The rows of the entries' studies, locked; made where a study is new."""
    wanted = {(entry.site, entry.study_index): entry for entry in entries}
    query = (
        select(ArrivalRow)
        .where(tuple_(ArrivalRow.site, ArrivalRow.study_index).in_(sorted(wanted)))
        .order_by(ArrivalRow.id)  # the same order for all, so that nobody waits in a ring
        .with_for_update()
    )
    found = {(row.site, row.study_index): row for row in session.scalars(query)}
    for key in sorted(wanted.keys() - found.keys()):
        entry = wanted[key]
        row = ArrivalRow(
            id=str(uuid.uuid4()),
            site=entry.site,
            study_index=entry.study_index,
            patient_index=entry.patient_index,
            status="receiving",
            source=entry.source,
            first_at=now,
            last_at=now,
            instances=0,
        )
        session.add(row)
        found[key] = row
    session.flush()
    return found


class _Known:
    """Which instances of these studies are recorded, as far as the entries may meet them."""

    def __init__(self, session: Session, arrival_ids: list[str], entries: Sequence[Entry]) -> None:
        row = ArrivedInstanceRow
        query = select(row.arrival_id, row.digest, row.sop_index, row.upload_id).where(
            row.arrival_id.in_(arrival_ids),
            or_(
                row.digest.in_([entry.digest for entry in entries]),
                row.sop_index.in_([entry.sop_index for entry in entries]),
            ),
        )
        self.digests: set[tuple[str, str]] = set()
        self.rivals: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for arrival_id, digest, sop_index, upload_id in session.execute(query):
            self.add(arrival_id, digest, sop_index, upload_id)

    def add(self, arrival_id: str, digest: str, sop_index: str, upload_id: str) -> None:
        self.digests.add((arrival_id, digest))
        self.rivals.setdefault((arrival_id, sop_index), []).append((digest, upload_id))


def _judge(
    entry: Entry, arrival: ArrivalRow, known: _Known, now: float, insert_row: Callable[[dict[str, object]], None]
) -> Recorded:
    if (arrival.id, entry.digest) in known.digests:
        return Recorded(Finding.KNOWN, arrival.id)
    rivals = known.rivals.get((arrival.id, entry.sop_index), [])
    unseen = tuple(rival for rival in rivals if rival[0] not in entry.told_apart)
    if unseen:
        return Recorded(Finding.SAME_UID, arrival.id, rivals=unseen)
    fault = INCONSISTENT if rivals else None
    if entry.patient_index is not None:
        if arrival.patient_index is None:
            arrival.patient_index = entry.patient_index
        elif arrival.patient_index != entry.patient_index:
            fault = SEVERAL_PATIENTS
    arrival.fault = arrival.fault or fault
    arrival.status, arrival.last_at = "receiving", now
    arrival.instances += 1
    known.add(arrival.id, entry.digest, entry.sop_index, entry.upload_id)
    insert_row(
        {
            "arrival_id": arrival.id,
            "digest": entry.digest,
            "sop_index": entry.sop_index,
            "upload_id": entry.upload_id,
            "stored_sha256": entry.stored_sha256,
            "stored_bytes": entry.stored_bytes,
            "size_bytes": entry.size_bytes,
            "rule": entry.rule,
            "priority": entry.priority,
            "bundle": entry.bundle,
            "arrived_at": now,
        }
    )
    return Recorded(Finding.NEW, arrival.id, fault)
