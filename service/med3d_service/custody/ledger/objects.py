"""The accounts that the database holds with the store: what rows refer to is there, and is what was stored."""

import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Select, exists, literal, null, select

from med3d_contract.results import TERMINAL, RunStatus
from med3d_service.custody.ledger.report import LedgerTally
from med3d_service.custody.ledger.rows import ROWS_AT_ONCE
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.database import Database
from med3d_service.storage.tables import ReportRow, RunRow, StudyRow, UploadRow
from med3d_store.object_store import ObjectDamagedError, ObjectMissingError, ObjectStore


@dataclass(frozen=True)
class _Account:
    """``query`` gives subject, key, size and digest of objects (None where not known), ``subject`` narrows it down."""

    missing: str
    altered: str
    subject: ColumnElement[str]
    query: Select[*tuple[Any, ...]]


def _accounts() -> tuple[_Account, ...]:
    in_upload = exists().where(UploadRow.id == ArrivedInstanceRow.upload_id)
    removed = StudyRow.input_removed_at.is_not(None)
    arrival_removed = exists().where(
        ArrivalRow.id == ArrivedInstanceRow.arrival_id, ArrivalRow.input_removed_at >= ArrivedInstanceRow.arrived_at
    )
    still_needed = exists().where(RunRow.study_id == StudyRow.id, RunRow.status.not_in(TERMINAL))
    tensor = RunRow.preprocessed["tensor"]
    return (
        _Account(
            "original_missing",
            "original_altered",
            UploadRow.id.expression,
            select(UploadRow.id, UploadRow.key, UploadRow.stored_bytes, UploadRow.sha256).where(
                ~exists().where(StudyRow.id == UploadRow.study_id, removed)
            ),
        ),
        _Account(
            "original_missing",
            "original_altered",
            ArrivedInstanceRow.upload_id.expression,
            select(
                ArrivedInstanceRow.upload_id,
                literal("originals/").concat(ArrivedInstanceRow.upload_id),
                ArrivedInstanceRow.stored_bytes,
                ArrivedInstanceRow.stored_sha256,
            ).where(~in_upload, ~arrival_removed),
        ),
        _Account(
            "working_copy_missing",
            "working_copy_altered",
            StudyRow.id.expression,
            select(StudyRow.id, StudyRow.working_key, null(), StudyRow.working_sha256).where(
                StudyRow.working_status == CopyStatus.READY, still_needed
            ),
        ),
        _Account(
            "report_missing",
            "report_altered",
            ReportRow.key.expression,
            select(ReportRow.key, ReportRow.key, ReportRow.stored_bytes, ReportRow.sha256),
        ),
        _Account(
            "tensor_missing",
            "tensor_missing",
            RunRow.id.expression,
            select(RunRow.id, tensor["key"].as_string(), null(), tensor["sha256"].as_string()).where(
                RunRow.status.in_((RunStatus.PREPROCESSED, RunStatus.PREDICTING))
            ),
        ),
    )


def referenced_objects(connection: Connection) -> Iterator[tuple[str, str]]:
    """Return key and digest of every object that the rows refer to and that must be there."""
    for account in _accounts():
        for _, key, _, sha256 in connection.execute(account.query.execution_options(yield_per=ROWS_AT_ONCE)):
            yield key, sha256


@dataclass(frozen=True)
class LostObject:
    """An object that a row refers to and that the store lacks or holds altered."""

    key: str
    sha256: str
    query: Select[*tuple[Any, ...]]

    def is_missed(self, database: Database) -> bool:
        """Tell whether a row still refers to it: it may have been erased since it was found missing."""
        with database.read() as session:
            return any(row[1] == self.key for row in session.execute(self.query))


def lost_objects(database: Database, store: ObjectStore) -> Iterator[LostObject]:
    """Return what must be there and is not as it was stored; every object is read."""
    for account in _accounts():
        with database.read() as session:
            for subject, key, _, sha256 in session.execute(account.query.execution_options(yield_per=ROWS_AT_ONCE)):
                if _is_damaged(store, key, sha256):
                    yield LostObject(key, sha256, account.query.where(account.subject == subject))


def check_objects(
    database: Database, store: ObjectStore, spool_dir: Path, tally: LedgerTally, *, digests: bool
) -> None:
    """Note what is missing or has another size; with ``digests`` every object is read. A suspect is seen twice."""
    with _Inventory(spool_dir) as stored:
        for prefix in ("originals", "working", "tensors", "reports"):
            stored.add(store, prefix)
        for account in _accounts():
            for code, subject in _faults(database, store, stored, account, digests=digests):
                tally.add(code, [subject])


def _faults(
    database: Database, store: ObjectStore, stored: "_Inventory", account: _Account, *, digests: bool
) -> Iterator[tuple[str, str]]:
    with database.read() as session:
        for subject, key, size_bytes, sha256 in session.execute(
            account.query.execution_options(yield_per=ROWS_AT_ONCE)
        ):
            found = stored.size_bytes(key)
            as_listed = found is not None and size_bytes in {None, found}
            if as_listed and not (digests and _is_damaged(store, key, sha256)):
                continue
            with database.read() as again:  # rows and objects change together, though not at the same moment
                rows = again.execute(account.query.where(account.subject == subject)).all()
            if fault := next((fault for row in rows if (fault := _fault(store, account, *row[1:]))), None):
                yield fault, subject


def _fault(store: ObjectStore, account: _Account, key: str, size_bytes: int | None, sha256: str) -> str | None:
    """Return what is wrong with one object now."""
    found = store.head(key)
    if found is None:
        return account.missing
    if size_bytes not in {None, found.size_bytes} or _is_damaged(store, key, sha256):
        return account.altered
    return None


def _is_damaged(store: ObjectStore, key: str, sha256: str) -> bool:
    try:
        for _ in store.stream(key, sha256):
            pass
    except (ObjectDamagedError, ObjectMissingError):
        return True
    return False


class _Inventory:
    """Keys and sizes of what the store lists, on disk: a million objects must not lie in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="inventory-", dir=folder)
        self._table = sqlite3.connect(Path(self._folder.name) / "objects.sqlite", isolation_level=None)
        self._table.execute("PRAGMA journal_mode=OFF")
        self._table.execute("PRAGMA synchronous=OFF")
        self._table.execute("CREATE TABLE objects (key TEXT PRIMARY KEY, size_bytes INTEGER) WITHOUT ROWID")

    def add(self, store: ObjectStore, prefix: str) -> None:
        """List everything below ``prefix``."""
        self._table.execute("BEGIN")
        rows = ((found.key, found.size_bytes) for found in store.list(prefix))
        self._table.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?)", rows)
        self._table.execute("COMMIT")

    def size_bytes(self, key: str) -> int | None:
        """Return size of an object; None where the store did not list it."""
        found = self._table.execute("SELECT size_bytes FROM objects WHERE key = ?", (key,)).fetchone()
        return None if found is None else int(found[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._table.close()
        self._folder.cleanup()
