"""DICOM objects that were made, kept sealed: what is read is what was made of this very run, or nothing.

Each lies under a key of its own, and the row that names it is the moment at which it exists: of two that are made at
once one wins, and both callers are given that one.
"""

import secrets
import uuid
from pathlib import Path
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys
from med3d_service.storage.sealed import ObjectName, SealBrokenError, SealedReader, SealedWriter
from med3d_service.storage.tables import ReportRow, RunRow, StudyRow
from med3d_service.studies.own_objects import own_uid
from med3d_service.trust.audit import AuditTrail
from med3d_service.trust.audit.alerts import record_alert
from med3d_store.object_store import ObjectMissingError, ObjectStore, file_sha256

DAMAGED = "report_damaged"


class ReportDamagedError(Exception):
    """What the store holds of a report is not what was made; it is not shown, and was alerted."""

    code = DAMAGED


class Parts(Protocol):
    """What is needed here of the parts of a process."""

    @property
    def settings(self) -> Settings:
        """What the operator set."""

    @property
    def keys(self) -> SiteKeys:
        """The site's keys."""

    @property
    def database(self) -> Database:
        """Where reports are recorded."""

    @property
    def store(self) -> ObjectStore:
        """Where reports lie."""

    @property
    def vault(self) -> IdentifierVault:
        """What opens identifiers."""


class KeptReports:
    """Reports in the store, by run and kind; of the SRs that a run may have, by their names (sr_names)."""

    def __init__(self, parts: Parts) -> None:
        self._database = parts.database
        self._store = parts.store
        self._key = parts.keys.originals
        self._spool_dir = parts.settings.spool_dir
        self._trail = AuditTrail(parts.database, parts.keys.audit)

    def find(self, run_id: str, kind: str) -> bytes | None:
        """Read a report; None where there is none, or the store has lost it. Raises ReportDamagedError."""
        try:
            with self._database.read() as session:
                row = session.get(ReportRow, (run_id, kind))
            if row is not None:
                return self._read(self._name(run_id, _own_key(row)), row.sha256)
            return self._adopted(run_id, kind)
        except ObjectMissingError:
            return None
        except SealBrokenError as error:
            record_alert(self._trail, "reports", DAMAGED, "run", run_id)
            raise ReportDamagedError from error

    def keep(self, run_id: str, kind: str, content: bytes) -> bytes:
        """Keep a report that was made; the content that is kept, which is another's who was faster."""
        name = self._name(run_id, _prefix(run_id, kind) + secrets.token_hex(8))
        row = self._stored(name, run_id, kind, content)
        try:
            with self._database.write() as session:
                ours = self._take_place(session, row)
        except IntegrityError:
            ours = False
        if ours:
            return content
        self._store.delete(name.key)
        return self.find(run_id, kind) or content

    def _take_place(self, session: Session, row: ReportRow) -> bool:
        """Record ``row`` unless there is one whose object is in the store."""
        before = session.get(ReportRow, (row.run_id, row.kind), with_for_update=True)
        if before is not None:
            if self._store.head(before.key) is not None:
                return False
            session.delete(before)
            session.flush()
        session.add(row)
        return True

    def _adopted(self, run_id: str, kind: str) -> bytes | None:
        """Take over a report of a release that kept no rows, and sealed without a name: it says itself whose it is."""
        key = f"reports/{run_id}/{kind}"
        if self._store.head(key) is None:
            return None
        path = self._fetched(key)
        try:
            with SealedReader(path, self._key, self._name(run_id, key), file_sha256(path)) as reader:
                content = reader.readall()
        finally:
            path.unlink(missing_ok=True)
        if _sop_instance_uid(content) != own_uid(run_id, kind):
            raise SealBrokenError("the report of another run")
        kept = self.keep(run_id, kind, content)
        self._store.delete(key)
        return kept

    def _name(self, run_id: str, key: str) -> ObjectName:
        with self._database.read() as session:
            query = select(StudyRow.site).join(RunRow, RunRow.study_id == StudyRow.id).where(RunRow.id == run_id)
            return ObjectName("report", key, session.scalars(query).one())

    def _read(self, name: ObjectName, sha256: str) -> bytes:
        path = self._fetched(name.key)
        try:
            with SealedReader(path, self._key, name, sha256) as reader:
                return reader.readall()
        finally:
            path.unlink(missing_ok=True)

    def _fetched(self, key: str) -> Path:
        return self._store.fetch(key, self._spool_dir / f"{uuid.uuid4()}.report")

    def _stored(self, name: ObjectName, run_id: str, kind: str, content: bytes) -> ReportRow:
        writer = SealedWriter(self._spool_dir / f"{uuid.uuid4()}.report", self._key, name)
        try:
            writer.write(content)
            writer.close()
            stored = self._store.put_file(name.key, writer.path, sha256=writer.sha256)
        except BaseException:
            writer.discard()
            raise
        return ReportRow(run_id=run_id, kind=kind, key=stored.key, sha256=stored.sha256, stored_bytes=stored.size_bytes)


def _prefix(run_id: str, kind: str) -> str:
    """Tell how the keys of a run's reports begin: the seal binds a report to its key, and so the key to its run."""
    return f"reports/{run_id}/{kind}."


def _own_key(row: ReportRow) -> str:
    """Return the report's key. Raises SealBrokenError where the row names the report of another run."""
    if not row.key.startswith(_prefix(row.run_id, row.kind)):
        raise SealBrokenError("the report of another run")
    return row.key


def _sop_instance_uid(content: bytes) -> str:
    import io

    from pydicom import dcmread

    return str(dcmread(io.BytesIO(content), specific_tags=["SOPInstanceUID"], stop_before_pixels=True).SOPInstanceUID)
