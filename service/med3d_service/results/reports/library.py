"""Reports by run and kind. A DICOM object is made once and kept sealed: one UID has one content, for ever."""

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from med3d_service.results.kinds import Kind, object_uid
from med3d_service.results.reports.dicom_objects import NoDicomStudyError
from med3d_service.results.reports.facts import FactsReader, ReportFacts
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys
from med3d_service.storage.sealed import SealedReader, SealedWriter
from med3d_store.object_store import ObjectStore


class ReportUnavailableError(Exception):
    """There is no such report of this run. ``code``: not_answered, no_dicom_study or several_patients."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Parts(Protocol):
    """What is needed here of the parts of a process."""

    @property
    def settings(self) -> Settings: ...
    @property
    def keys(self) -> SiteKeys: ...
    @property
    def database(self) -> Database: ...
    @property
    def store(self) -> ObjectStore: ...
    @property
    def vault(self) -> IdentifierVault: ...


def _renderers() -> Mapping[Kind, Callable[[ReportFacts], bytes]]:
    """Import what draws and encodes only where it is needed: it takes a second."""
    from med3d_service.results.reports.encapsulated import encapsulated_pdf, secondary_capture
    from med3d_service.results.reports.sr import structured_report

    return {Kind.SR: structured_report, Kind.PDF: encapsulated_pdf, Kind.SC: secondary_capture}


class ReportLibrary:
    """Makes reports, and finds DICOM objects again."""

    def __init__(self, parts: Parts) -> None:
        self._database = parts.database
        self._store = parts.store
        self._key = parts.keys.originals
        self._spool_dir = parts.settings.spool_dir
        self._reader = FactsReader(parts.store, parts.vault)

    def facts(self, run_id: str) -> ReportFacts:
        """Gather what reports of a run may say. Raises ReportUnavailableError("not_answered")."""
        with self._database.read() as session:
            facts = self._reader.read(session, run_id)
        if facts is None:
            raise ReportUnavailableError("not_answered")
        return facts

    def facts_of_one_patient(self, run_id: str) -> ReportFacts:
        """Gather the facts of what is filed under a patient. Raises ReportUnavailableError."""
        facts = self.facts(run_id)
        if facts.patients:
            raise ReportUnavailableError("several_patients")
        return facts

    def content(self, run_id: str, kind: Kind) -> bytes:
        """Return the DICOM file, or the JSON of the event. Raises ReportUnavailableError."""
        if kind is Kind.EVENT:
            from med3d_service.results.reports.event import event_json

            return event_json(self.facts(run_id), object_uid(run_id, kind))
        key = f"reports/{run_id}/{kind}"
        kept = self._kept(key)
        if kept is not None:
            return kept
        try:
            made = _renderers()[kind](self.facts_of_one_patient(run_id))
        except NoDicomStudyError as error:
            raise ReportUnavailableError("no_dicom_study") from error
        self._keep(key, made)
        return made

    def _kept(self, key: str) -> bytes | None:
        if self._store.head(key) is None:
            return None
        local = self._store.local_path(key)
        if local is not None:
            return self._unsealed(local)
        fetched = self._spool_dir / f"{uuid.uuid4()}.report"
        try:
            return self._unsealed(self._store.fetch(key, fetched))
        finally:
            fetched.unlink(missing_ok=True)

    def _unsealed(self, path: Path) -> bytes:
        with SealedReader(path, self._key) as reader:
            return reader.readall()

    def _keep(self, key: str, content: bytes) -> None:
        writer = SealedWriter(self._spool_dir / f"{uuid.uuid4()}.report", self._key)
        try:
            writer.write(content)
            writer.close()
            self._store.put_file(key, writer.path, sha256=writer.sha256)
        except BaseException:
            writer.discard()
            raise
