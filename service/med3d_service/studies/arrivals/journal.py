"""The database's side of arriving instances: rows of those who wait at the same moment are committed together.

An instance is acknowledged only after its row is committed, and on one disk a commit costs about as much for twenty
rows as for one. So whoever comes while a commit is under way waits, and the next commit takes all of them.
"""

import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError

from med3d_service.storage.counters import add_to_counters
from med3d_service.storage.database import Database, db_now
from med3d_service.studies.arrivals.entries import Entry, Finding, Recorded, Rival
from med3d_service.studies.arrivals.states import ArrivalStatus

MOST_AT_ONCE = 200
TRIES = 3
INCONSISTENT, SEVERAL_PATIENTS = "inconsistent_study", "several_patients"


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
        with self._database.write_rows() as connection:
            now: float = connection.execute(_NOW).scalar_one()
            studies = {
                key: _Study.found_or_made(connection, next(entry for entry in entries if entry.study == key), now)
                for key in sorted({entry.study for entry in entries})  # the same order for all: nobody waits in a ring
            }
            now = connection.execute(_NOW).scalar_one()  # a study may have been settled while we waited for its row
            answers = [studies[entry.study].judge(connection, entry, now) for entry in entries]
            for statement, rows in (
                (_SEE_INSTANCE, [row for study in studies.values() for row in study.seen]),
                (_REPLACE_INSTANCE, [row for study in studies.values() for row in study.replaced]),
                (_REVIVE_IDENTITY, [row for study in studies.values() for row in study.revived]),
                (_RETIRE_IDENTITY, [row for study in studies.values() for row in study.retired.values()]),
                (_ADD_INSTANCE, [row for study in studies.values() for row in study.rows]),
                (_CHANGE_STUDY, [study.changes(now) for study in studies.values() if study.rows or study.seen]),
            ):
                if rows:
                    connection.execute(statement, rows)
            add_to_counters(connection, _counted(entries, answers))
            return answers


def _counted(entries: Sequence[Entry], answers: Sequence[Recorded]) -> Counter[tuple[str, str]]:
    """Count instances and bytes by inlet, those that were known before apart."""
    counts: Counter[tuple[str, str]] = Counter()
    for entry, answer in zip(entries, answers, strict=True):
        if answer.finding is Finding.NEW:
            counts["instances", entry.source] += 1
            counts["bytes", entry.source] += entry.size_bytes
        elif answer.finding is Finding.KNOWN:
            counts["known_instances", entry.source] += 1
    return counts


class _Study:
    """A study's row, locked while the transaction lasts, and what the batch adds to it."""

    def __init__(
        self, arrival_id: str, patient_index: str | None, fault: str | None, corrected_at: float | None
    ) -> None:
        self._id = arrival_id
        self._patient_index = patient_index
        self._fault = fault
        self._corrected_at = corrected_at
        self._added: list[Rival] = []
        self.rows: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []
        """Known instances that came again while the study is at fault."""
        self.replaced: list[dict[str, Any]] = []
        self.retired: dict[str, dict[str, Any]] = {}
        """By index: identities that instances were corrected from."""
        self.revived: list[dict[str, Any]] = []

    @classmethod
    def found_or_made(cls, connection: Connection, entry: Entry, now: float) -> "_Study":
        key = {"site": entry.site, "study_index": entry.study_index}
        lock = _FIND_STUDY_LOCKED if connection.dialect.name == "postgresql" else _FIND_STUDY
        found = connection.execute(lock, key).one_or_none()
        if found is not None:
            return cls(*found)
        index = _followed(connection, entry.site, entry.patient_index)
        made = {"id": str(uuid.uuid4()), "patient_index": index, "source": entry.source}
        told = {"status": ArrivalStatus.RECEIVING.value, "sender": entry.sender, "called": entry.called, "now": now}
        connection.execute(_ADD_STUDY, key | made | told)
        return cls(str(made["id"]), index, None, None)

    def judge(self, connection: Connection, entry: Entry, now: float) -> Recorded:
        """Say what comes of an entry, and note its row where it is new."""
        entry = self._readdressed(connection, entry)
        known = self._known(connection, entry)
        if any(one.digest == entry.digest for one in known):
            if self._fault is not None:
                self.seen.append(self._named(entry.digest) | {"now": now, "patient_index": entry.patient_index})
            return Recorded(Finding.KNOWN, self._id)
        rivals = [one for one in known if one.sop_index == entry.sop_index]
        unseen = tuple(rival for rival in rivals if rival.digest not in entry.told_apart | entry.same_pixels)
        if unseen:
            return Recorded(Finding.SAME_UID, self._id, rivals=unseen)
        replaced = [rival.digest for rival in rivals if rival.digest in entry.same_pixels]
        former = {entry.corrects[digest] for digest in replaced if digest in entry.corrects}
        if replaced and self._is_stale(connection, entry):
            return Recorded(Finding.KNOWN, self._id, is_stale=True)
        if replaced and not former and self._fault is None:
            return Recorded(Finding.KNOWN, self._id)  # sent anew with other headers, and of the same patient
        self._replace(replaced)
        self._retire(former, entry, now)
        fault = INCONSISTENT if len(replaced) < len(rivals) else self._other_patient(entry)
        self._fault = self._fault or fault
        self._added.append(Rival(entry.digest, entry.sop_index, entry.upload_id, entry.identity_index))
        row = {name: getattr(entry, name) for name in _OF_THE_ENTRY}
        self.rows.append(row | {"arrival_id": self._id, "arrived_at": now})
        return Recorded(Finding.NEW, self._id, fault)

    def _readdressed(self, connection: Connection, entry: Entry) -> Entry:
        """Late images under an id that a message has merged into another are of the patient who has that one now."""
        index, seen = entry.patient_index, set[str | None]()
        if index == self._patient_index:
            return entry
        while index not in {None, self._patient_index, *seen} and self._patient_index is not None:
            seen.add(index)
            asked = {"arrival_id": self._id, "site": entry.site, "patient_index": index}
            index = connection.execute(_FIND_MERGED, asked).scalar()
        return entry if index is None or index in seen or entry.corrects else replace(entry, patient_index=index)

    def _named(self, digest: str) -> dict[str, Any]:
        return {"arrival_id": self._id, "digest": digest}

    def _replace(self, digests: Sequence[str]) -> None:
        """Let the corrected instance of a study at fault take the place of the one with its UID and pixels."""
        self.replaced += [self._named(digest) for digest in digests]
        self._added = [one for one in self._added if one.digest not in digests]
        self.rows = [row for row in self.rows if row["digest"] not in digests]

    def _is_stale(self, connection: Connection, entry: Entry) -> bool:
        """Tell whether an entry is under an identity that somebody else has corrected since: it comes late."""
        if not entry.corrects or entry.identity_index is None:
            return False
        asked = {"arrival_id": self._id, "identity_index": entry.identity_index}
        rows = [self.retired.get(entry.identity_index), *connection.execute(_FIND_RETIRED, asked).mappings()]
        return any(row is not None and row["corrected_by"] != entry.peer for row in rows)

    def _retire(self, former: Iterable[str], entry: Entry, now: float) -> None:
        """Note that the patient is not any more who they were."""
        for index in former:
            self._corrected_at = now
            row = {"arrival_id": self._id, "identity_index": index}
            self.revived += [row, row | {"identity_index": entry.identity_index}]
            self.retired[index] = row | {"now": now, "corrected_by": entry.peer[:100]}
            self.retired.pop(entry.identity_index or "", None)

    def changes(self, now: float) -> dict[str, Any]:
        """Return what the study's row becomes."""
        return {
            "id": self._id,
            "status": ArrivalStatus.RECEIVING.value,
            "now": now,
            "more": len(self.rows) - len(self.replaced),
            "patient_index": self._patient_index,
            "fault": self._fault,
            "corrected_at": self._corrected_at,
        }

    def _known(self, connection: Connection, entry: Entry) -> Sequence[Rival]:
        """Return what is recorded, or about to be, and may be the same."""
        asked = {"arrival_id": self._id, "digest": entry.digest, "sop_index": entry.sop_index}
        rows = [Rival(*row) for row in connection.execute(_FIND_INSTANCES, asked)]
        return rows + [one for one in self._added if one.digest == entry.digest or one.sop_index == entry.sop_index]

    def _other_patient(self, entry: Entry) -> str | None:
        if entry.patient_index is None or self._corrected_at is not None:
            return None  # while a correction comes, both are named: settling sees whether one is left
        if self._patient_index is None:
            self._patient_index = entry.patient_index
        return None if self._patient_index == entry.patient_index else SEVERAL_PATIENTS


def _followed(connection: Connection, site: str, patient_index: str | None) -> str | None:
    """Return the identifier that this one has become by merges that were told before anything came."""
    seen = set[str]()
    while patient_index is not None and patient_index not in seen:
        seen.add(patient_index)
        asked = {"arrival_id": "", "site": site, "patient_index": patient_index}
        patient_index = connection.execute(_FIND_MERGED, asked).scalar() or patient_index
    return patient_index


_OF_THE_ENTRY = (
    "digest",
    "sop_index",
    "patient_index",
    "upload_id",
    "stored_sha256",
    "stored_bytes",
    "size_bytes",
    "rule",
    "priority",
    "bundle",
    "identity_index",
)
# Statements as text, prepared once: at thousands of rows per second building them costs more than running them.
_NOW = select(db_now())
_FIND = "SELECT id, patient_index, fault, corrected_at FROM arrivals WHERE site = :site AND study_index = :study_index"
_FIND_STUDY, _FIND_STUDY_LOCKED = text(_FIND), text(f"{_FIND} FOR UPDATE")
_ADD_STUDY = text(
    "INSERT INTO arrivals (id, site, study_index, patient_index, status, source, sender, called, first_at, last_at, "
    "instances) VALUES (:id, :site, :study_index, :patient_index, :status, :source, :sender, :called, :now, :now, 0)"
)
_CHANGE_STUDY = text(
    "UPDATE arrivals SET status = :status, last_at = :now, instances = instances + :more, "
    "patient_index = :patient_index, fault = :fault, corrected_at = :corrected_at WHERE id = :id"
)
_FIND_INSTANCES = text(
    "SELECT digest, sop_index, upload_id, identity_index FROM arrived_instances "
    "WHERE arrival_id = :arrival_id AND (digest = :digest OR sop_index = :sop_index)"
)
_ADD_INSTANCE = text(
    "INSERT INTO arrived_instances (arrival_id, digest, sop_index, patient_index, upload_id, stored_sha256, "
    "stored_bytes, size_bytes, rule, priority, bundle, identity_index, arrived_at) VALUES (:arrival_id, :digest, "
    ":sop_index, :patient_index, :upload_id, :stored_sha256, :stored_bytes, :size_bytes, :rule, :priority, :bundle, "
    ":identity_index, :arrived_at)"
)
_SEE_INSTANCE = text(
    "UPDATE arrived_instances SET seen_at = :now, patient_index = :patient_index "
    "WHERE arrival_id = :arrival_id AND digest = :digest"
)
_REPLACE_INSTANCE = text("DELETE FROM arrived_instances WHERE arrival_id = :arrival_id AND digest = :digest")
_FIND_RETIRED = text(
    "SELECT corrected_by FROM retired_identities WHERE arrival_id = :arrival_id AND identity_index = :identity_index"
)
_FIND_MERGED = text(
    "SELECT becomes_index FROM patient_updates WHERE (arrival_id = :arrival_id OR site = :site) "
    "AND patient_index = :patient_index ORDER BY seq DESC LIMIT 1"
)
_REVIVE_IDENTITY = text(
    "DELETE FROM retired_identities WHERE arrival_id = :arrival_id AND identity_index = :identity_index"
)
_RETIRE_IDENTITY = text(
    "INSERT INTO retired_identities (arrival_id, identity_index, retired_at, corrected_by) "
    "VALUES (:arrival_id, :identity_index, :now, :corrected_by)"
)
