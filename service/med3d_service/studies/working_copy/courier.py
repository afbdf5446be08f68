"""The courier: takes studies that have no working copy, has one made, and lets their runs go."""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from med3d_contract.results import Refusal
from med3d_service.runs.queueing.dispatch import Broker, send_waiting
from med3d_service.runs.transitions import refuse_study
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.copy_states import TO_BE_COPIED, CopyStatus, move_copy
from med3d_service.storage.database import Database, db_now
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys
from med3d_service.storage.leases import WorkTable
from med3d_service.storage.sealed import file_key
from med3d_service.storage.tables import InstanceRow, StudyRow, UploadRow
from med3d_service.studies.correcting import CODE as IDENTITY_CORRECTED
from med3d_service.studies.correcting import withdraw_double
from med3d_service.studies.counting import in_words
from med3d_service.studies.patient_corrections import same_patients
from med3d_service.studies.remembered_updates import merges_before, remember_merges, told_of
from med3d_service.studies.working_copy.holding import Hold, OvertakenError
from med3d_service.studies.working_copy.messages import (
    IDENTIFYING,
    PATIENTS,
    SERIES_DESCRIPTIONS,
    STUDY_ATTRIBUTES,
    Container,
    Finding,
    Job,
    Member,
    Report,
)
from med3d_service.studies.working_copy.names import working_key
from med3d_service.studies.working_copy.pixels_decoded import with_pixels_decoded
from med3d_service.studies.working_copy.sandbox import Sandbox, limits_of
from med3d_service.studies.working_copy.telling import updated
from med3d_service.studies.working_copy.trying import SUFFIX, Try, living_tries
from med3d_service.trust.audit import AuditTrail
from med3d_service.trust.audit.alerts import alert
from med3d_store.object_store import ObjectDamagedError, ObjectMissingError, ObjectStore

log = structlog.get_logger()
MAX_TRIES = 3
_TABLE = WorkTable(
    StudyRow,
    waits=StudyRow.working_status == CopyStatus.WAITING,
    in_hand=StudyRow.working_status == CopyStatus.COPYING,
    lease_until=StudyRow.working_lease_until,
)

REFUSALS = {
    Finding.NO_IMAGES: "The upload holds no images. Send the DICOM files of one MRI study, or one NIfTI volume.",
    Finding.UNREADABLE_FILE: "The files are damaged and cannot be read. Export the study again and send all of it.",
    Finding.ORIGINAL_DAMAGED: (
        "What the service stored of this study is damaged or gone. "
        "The operator brings it back from a backup and requeues the run; or export the study anew and send it again."
    ),
    Finding.SEVERAL_PATIENTS: "The upload holds images of {patients} patients. Send one study at a time.",
}


@dataclass(frozen=True)
class StudyToCopy:
    """A study in the courier's hands until its lease ends. ``refusal``: what was found at fault as it arrived.

    ``claim`` is the fence: who has an older one says nothing any more.
    """

    study_id: str
    claim: int
    site: str
    digest: str
    uploads: tuple[UploadRow, ...]
    members: tuple[Member, ...]
    refusal: Refusal | None = None
    same_patients: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def sandbox_of(settings: Settings) -> Sandbox:
    """Make a sandbox with the limits of the settings."""
    return Sandbox(limits_of(settings), settings.courier_timeout_s)


class Courier:
    """Makes working copies one after the other; several couriers may work side by side."""

    def __init__(
        self,
        settings: Settings,
        keys: SiteKeys,
        database: Database,
        store: ObjectStore,
        vault: IdentifierVault,
        trail: AuditTrail,
        broker: Broker,
        sandbox: Sandbox,
    ) -> None:
        self.sandbox = sandbox
        self._settings, self._keys = settings, keys
        self._database, self._store, self._vault = database, store, vault
        self._trail, self._broker = trail, broker

    def copy_next(self) -> bool:
        """Make the working copy of one study; whether there was one to make."""
        study = self._claim()
        if study is None:
            return False
        self._remove_files(study.study_id)  # of a courier that was killed; one that lives has lost the study
        with Try(self._settings.spool_dir / f"{study.study_id}.{study.claim}.{SUFFIX}") as trial:
            self._copy(study, trial)
        send_waiting(self._database, self._broker, redispatch_s=self._settings.redispatch_s, study_id=study.study_id)
        self.sandbox.prepare()  # last: the next child's start would slow down what this study waits for
        return True

    def _copy(self, study: StudyToCopy, trial: Try) -> None:
        name = f"{study.study_id}.{study.claim}"
        target, fetched = self._settings.spool_dir / f"{name}.working", self._settings.spool_dir / f"{name}.originals"
        try:
            with Hold(lambda: self._renew(study), self._settings.lease_s / 4) as hold:
                report = self._copied(study, trial, target, fetched, hold)
                self._end(study, trial, report, target)
        except OvertakenError:
            self._let_go(study, trial)
        except Exception:
            if self._give_back(study, trial):
                raise  # store or disk failed us, not the study
            self._let_go(study, trial)
        finally:
            target.unlink(missing_ok=True)
            shutil.rmtree(fetched, ignore_errors=True)

    def _copied(self, study: StudyToCopy, trial: Try, target: Path, fetched: Path, hold: Hold) -> Report:
        try:
            job = self._job(study, target, fetched)
        except (ObjectDamagedError, ObjectMissingError, FileNotFoundError):
            return Report(finding=Finding.ORIGINAL_DAMAGED)
        self._count(study, trial, +1)
        report = self.sandbox.run(job, hold.check)
        if report.is_compressed and report.finding is Finding.COPIED and self._arrived(study):
            return with_pixels_decoded(report, job, self._settings, hold.check)
        return report

    def _arrived(self, study: StudyToCopy) -> bool:
        """Tell whether it came by itself: only then may it take another's place for what it shows (withdraw_double)."""
        with self._database.read() as session:
            ours = ArrivalRow.study_id == study.study_id, ArrivalRow.late_study_id == study.study_id
            query = select(ArrivalRow.id).where(or_(*ours))
            return session.scalars(query).first() is not None

    def _count(self, study: StudyToCopy, trial: Try, by: int) -> None:
        """Let the try at parsing count, or no more: only who dies in between leaves it. Raises OvertakenError."""
        if not self._renew(study, working_tries=StudyRow.working_tries + by):
            raise OvertakenError
        trial.is_counted = by > 0

    def _end(self, study: StudyToCopy, trial: Try, report: Report, target: Path) -> None:
        if report.finding is Finding.COPIED and study.refusal is None:
            self._count(study, trial, -1)  # and nothing is stored of who has lost the study
            self._keep(study, report, target)
        else:
            self._refuse(study, report)

    def _remove_files(self, study_id: str) -> None:
        living = set(living_tries(self._settings.spool_dir, study_id))
        for left in set(self._settings.spool_dir.glob(f"{study_id}.*")) - living:
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def _claim(self) -> StudyToCopy | None:
        """Take the most urgent study that waits, or whose courier was lost; of equals the oldest."""
        with self._database.read() as session:
            if not _TABLE.has_due(session):
                return None
        with self._database.write() as session:
            study = next(iter(_TABLE.lock_due(session, order=(StudyRow.working_priority, StudyRow.seq))), None)
            if study is None:
                return None
            living = sum(1 for _ in living_tries(self._settings.spool_dir, study.id))
            if study.working_tries - living >= MAX_TRIES:  # it takes the courier with it each time
                refusal = _preset(study) or _refusal(Report(finding=Finding.UNREADABLE_FILE))
                move_copy(session, study.id, TO_BE_COPIED, CopyStatus.REFUSED, refusal=refusal.model_dump(mode="json"))
                refuse_study(session, study.id, refusal)
                return None
            taken = move_copy(
                session,
                study.id,
                TO_BE_COPIED,
                CopyStatus.COPYING,
                working_claim=StudyRow.working_claim + 1,
                working_lease_until=db_now() + self._settings.lease_s,
            )
            if not taken:
                return None
            told = told_of(session, self._vault, study.id) + merges_before(session, self._vault, study.site, study.id)
            return replace(_to_copy(session, study), same_patients=same_patients(told))

    def _renew(self, study: StudyToCopy, **values: Any) -> bool:
        """Keep the study in hand; False where it is not in ours any more."""
        until = db_now() + self._settings.lease_s
        with self._database.write() as session:
            return self._leave(session, study, CopyStatus.COPYING, lease_until=until, **values)

    def _give_back(self, study: StudyToCopy, trial: Try) -> bool:
        tries = StudyRow.working_tries - int(trial.is_counted)
        with self._database.write() as session:
            return self._leave(session, study, CopyStatus.WAITING, working_tries=tries)

    def _let_go(self, study: StudyToCopy, trial: Try) -> None:
        """Give the try back to who has the study now: our lease ran out, but we lived, and the study harmed nobody."""
        log.info("working_copy_overtaken", study_id=study.study_id)
        if not trial.is_counted:
            return
        counted = StudyRow.digest == study.digest, StudyRow.working_claim > study.claim, StudyRow.working_tries > 0
        with self._database.write() as session:
            for here in TO_BE_COPIED:
                move_copy(session, study.study_id, {here}, here, *counted, working_tries=StudyRow.working_tries - 1)

    @staticmethod
    def _leave(session: Session, study: StudyToCopy, to: CopyStatus, *, lease_until: Any = None, **values: Any) -> bool:
        """Move a study that is still in our hands as we took it; False where another has it, or more of it has come."""
        as_taken = StudyRow.digest == study.digest, StudyRow.working_claim == study.claim
        ours = *as_taken, StudyRow.corrected_by.is_(None)
        return move_copy(
            session, study.study_id, {CopyStatus.COPYING}, to, *ours, working_lease_until=lease_until, **values
        )

    def _job(self, study: StudyToCopy, target: Path, fetched: Path) -> Job:
        keys = self._keys
        target.unlink(missing_ok=True)
        return Job.model_validate(
            {
                "containers": [self._container(study, upload, fetched) for upload in study.uploads],
                "uid_key": keys.uids.hex(),
                "members": study.members,
                "target": str(target),
                "same_patients": study.same_patients,
                "character_set": self._settings.images_character_set,
            }
        )

    def _container(self, study: StudyToCopy, upload: UploadRow, fetched: Path) -> Container:
        """Read it in place where the store is a folder, else fetched.

        The child holds it against the name and the digest.
        """
        path = self._store.local_path(upload.key)
        if path is None:
            fetched.mkdir(mode=0o700, exist_ok=True)
            path = self._store.fetch(upload.key, fetched / upload.id, upload.sha256)
        key = file_key(path, self._keys.originals).hex()
        return Container(path=str(path), upload_id=upload.id, site=study.site, sha256=upload.sha256, key=key)

    def _keep(self, study: StudyToCopy, report: Report, target: Path) -> None:
        stored = self._store.put_file(working_key(study.study_id, study.claim), target)
        with self._database.write() as session:
            report = self._as_told(session, study, report)
            ours = self._leave(
                session,
                study,
                CopyStatus.READY,
                working_key=stored.key,
                working_sha256=stored.sha256,
                found_age=report.age,
                series_ages=report.series_ages or None,
                found_sex=report.sex or None,
                skipped_files=StudyRow.skipped_files + report.skipped,
                # A copy without identity takes nobody's place, and nobody takes its.
                pixel_digest=None if report.deidentified else report.pixels or None,
            )
            if not ours:
                raise OvertakenError
            self._keep_identity(session, study, report)
            if report.uids:
                self._vault.keep(session, study.study_id, "uids", json.dumps(report.uids))
            double = withdraw_double(session, self._vault, self._trail, study.study_id)
        if double is not None:
            log.info(IDENTITY_CORRECTED, former_study_id=double[0], study_id=double[1])
        log.info("working_copy_made", study_id=study.study_id, images=report.copied, skipped=report.skipped)

    def _as_told(self, session: Session, study: StudyToCopy, report: Report) -> Report:
        """Return what the images say, and what messages have said since: one that comes now waits for the row."""
        session.scalars(select(StudyRow.seq).where(StudyRow.id == study.study_id).with_for_update()).all()
        told, authority = told_of(session, self._vault, study.study_id), self._settings.hl7_authority
        found = updated(report, told, authority)
        merges = remember_merges(session, self._vault, study.site, study.study_id, found.patient_id)
        if report.is_under_several_ids:  # what one of the images says is of the patient before
            merges = merges_before(session, self._vault, study.site, study.study_id) + merges
        return updated(report, [*told, *merges], authority) if merges else found

    def _keep_identity(self, session: Session, study: StudyToCopy, report: Report) -> None:
        for kind in IDENTIFYING:
            if getattr(report, kind):
                self._vault.keep(session, study.study_id, kind, getattr(report, kind))
        told = {SERIES_DESCRIPTIONS: report.series_descriptions, STUDY_ATTRIBUTES: report.study_attributes}
        for kind, texts in told.items():
            if texts:
                self._vault.keep(session, study.study_id, kind, json.dumps(texts))
        if report.patients:  # found by each of their ids, and named to those who may
            named = [patient.model_dump() for patient in report.patients]
            self._vault.keep(session, study.study_id, PATIENTS, json.dumps(named))
            ids = sorted({patient.patient_id for patient in report.patients} - {""})
            self._vault.keep(session, study.study_id, "patient_id", *ids)

    def _refuse(self, study: StudyToCopy, report: Report) -> None:
        refusal = study.refusal or _refusal(report)
        with self._database.write() as session:
            report = self._as_told(session, study, report)
            if not self._leave(session, study, CopyStatus.REFUSED, refusal=refusal.model_dump(mode="json")):
                raise OvertakenError
            self._keep_identity(session, study, report)
            refuse_study(session, study.study_id, refusal)
            if report.finding is Finding.ORIGINAL_DAMAGED:
                alert(self._trail, session, "courier", report.finding, "study", study.study_id)
        log.info("study_refused", study_id=study.study_id, code=refusal.code)


def _to_copy(session: Session, study: StudyRow) -> StudyToCopy:
    """Return the study's instances, container by container: one of an upload, or one for each that came by itself."""
    found = session.execute(
        select(InstanceRow, UploadRow)
        .join(UploadRow, UploadRow.id == InstanceRow.upload_id)
        .where(InstanceRow.study_id == study.id)
        .order_by(InstanceRow.upload_id, InstanceRow.offset_bytes)
    ).all()
    uploads = {upload.id: upload for _, upload in found}
    places = {upload_id: place for place, upload_id in enumerate(uploads)}
    members = tuple(
        Member(
            container=places[row.upload_id],
            kind=row.kind,
            name=row.name,
            offset_bytes=row.offset_bytes,
            size_bytes=row.size_bytes,
        )
        for row, _ in found
    )
    return StudyToCopy(
        study.id,
        study.working_claim,
        study.site,
        study.digest,
        uploads=tuple(uploads.values()),
        members=members,
        refusal=_preset(study),
    )


def _preset(study: StudyRow) -> Refusal | None:
    """Return what was found at fault as the study arrived: the courier reads whose it is, and refuses it."""
    return None if study.refusal is None else Refusal.model_validate(study.refusal)


def _refusal(report: Report) -> Refusal:
    ids = {patient.patient_id.casefold() for patient in report.patients} - {""}
    count = len(ids) if len(ids) > 1 else len(report.patients)
    return Refusal(code=report.finding.value, reason=REFUSALS[report.finding].format(patients=in_words(count)))
