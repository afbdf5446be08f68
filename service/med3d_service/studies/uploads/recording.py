"""From a received upload to a recorded study: the originals are on disk before the database says that they exist."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from med3d_contract.results import Refusal, RunStatus
from med3d_contract.sent_files.unread_files import Unread
from med3d_service.runs.bundles import find_bundle_for_run
from med3d_service.runs.starting import start_run
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.database import Database, now_of
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import InstanceRow, StudyRow, UploadRow
from med3d_service.studies.original_names import original_key
from med3d_service.studies.uploads.damaged import is_damaged, replace_originals
from med3d_service.studies.uploads.fields import SubmittedFields
from med3d_service.studies.uploads.receiving import ReceivedStudy
from med3d_store.object_store import ObjectStore

T = TypeVar("T")


@dataclass(frozen=True)
class RecordedStudy:
    """The answer to POST /studies; ``known`` where study and run were there before."""

    study_id: str
    run_id: str
    status: RunStatus
    known: bool


class StudyRecorder:
    """Puts received studies into store and database."""

    def __init__(self, database: Database, store: ObjectStore, vault: IdentifierVault) -> None:
        self._database = database
        self._store = store
        self._vault = vault

    def record(self, site: str, fields: SubmittedFields, received: ReceivedStudy) -> RecordedStudy:
        """Record the study and its run in one transaction. The same study again finds the same ids.

        Raises ServiceError: unknown_bundle, no_bundle.
        """
        with self._database.read() as session:
            find_bundle_for_run(session, fields.bundle)  # before anything is stored
        return self.keep(site, received, lambda session, study, known: self._start(session, study, fields, known=known))

    def keep(self, site: str, received: ReceivedStudy, then: Callable[[Session, StudyRow, bool], T]) -> T:
        """Record the study and do ``then(session, study, known)`` in the same transaction; what that gives.

        A study that is known already is not stored again, unless what was stored of it is damaged.
        """
        with self._database.write() as session:
            study = _find(session, site, received.digest)
            if study is not None and not is_damaged(study):
                return then(session, study, True)
        upload = self._store_originals(received)
        try:
            with self._database.write() as session:
                damaged = _find(session, site, received.digest) if study is not None else None
                if damaged is not None and upload is not None:
                    replace_originals(session, damaged, upload, received.instances)
                    return then(session, damaged, True)
                return then(session, self._insert(session, site, received, upload), False)
        except IntegrityError:  # the same study came twice at once, and the other was first
            if upload is not None:
                self._store.delete(upload.key)
            with self._database.write() as session:
                study = _find(session, site, received.digest)
                if study is None:
                    raise
                return then(session, study, True)

    def state(self, session: Session, study: StudyRow, fields: SubmittedFields) -> None:
        """Note what the sender says of a study; what is left out stays as it was."""
        if fields.age is not None:
            study.stated_age = fields.age
        if fields.sex is not None:
            study.stated_sex = fields.sex
        if fields.subject is not None:
            self._vault.keep(session, study.id, "subject", fields.subject)

    def _store_originals(self, received: ReceivedStudy) -> UploadRow | None:
        if not received.instances:
            return None
        key = original_key(received.upload_id)
        stored = self._store.put_file(key, received.container, sha256=received.container_sha256)
        return UploadRow(id=received.upload_id, key=stored.key, sha256=stored.sha256, stored_bytes=stored.size_bytes)

    def _insert(self, session: Session, site: str, received: ReceivedStudy, upload: UploadRow | None) -> StudyRow:
        now = now_of(session)
        study = StudyRow(
            id=str(uuid.uuid4()),
            site=site,
            digest=received.digest,
            created_at=now,
            files=received.files,
            skipped_files=received.skipped_files,
            working_status=CopyStatus.WAITING if upload is not None else CopyStatus.REFUSED,
            working_tries=0,
            refusal=None if received.unread is None else _refusal(received.unread),
        )
        session.add(study)
        session.flush()
        if upload is not None:
            upload.study_id = study.id
            session.add(upload)
            session.flush()
            session.add_all(
                InstanceRow(
                    study_id=study.id,
                    digest=instance.digest,
                    upload_id=upload.id,
                    kind=instance.kind,
                    name=instance.name,
                    offset_bytes=instance.offset_bytes,
                    size_bytes=instance.size_bytes,
                )
                for instance in received.instances
            )
            session.flush()
        return study

    def _start(self, session: Session, study: StudyRow, fields: SubmittedFields, *, known: bool) -> RecordedStudy:
        self.state(session, study, fields)
        bundle = find_bundle_for_run(session, fields.bundle)
        started = start_run(session, study, bundle, priority=fields.priority, chosen_series=fields.series or "")
        return RecordedStudy(study.id, started.run.id, RunStatus(started.run.status), known and started.known)


def _refusal(unread: Unread) -> dict[str, Any]:
    return Refusal(code=unread.code, reason=unread.reason).model_dump(mode="json")


def _find(session: Session, site: str, digest: str) -> StudyRow | None:
    return session.scalars(select(StudyRow).where(StudyRow.site == site, StudyRow.digest == digest)).one_or_none()
