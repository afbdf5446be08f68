"""Erasing: rows and the list of objects in one transaction, then the objects, however often it takes."""

from dataclasses import dataclass

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from med3d_contract.results import RunStatus
from med3d_service.custody.erasure.objects import keys_of
from med3d_service.custody.erasure.rows import delete_rows, versions_of
from med3d_service.custody.erasure.tables import TombstoneRow
from med3d_service.network.pulls.tables import PullRow
from med3d_service.network.pulls.wanted import Wanted
from med3d_service.problems import ServiceError
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.database import Database, db_now, now_of
from med3d_service.storage.identifiers import FORMER, IdentifierVault
from med3d_service.storage.repetitions import forget
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail
from med3d_store.object_store import ObjectStore

log = structlog.get_logger()
IN_WORK = (RunStatus.PREPROCESSING, RunStatus.PREDICTING)


@dataclass(frozen=True)
class Erased:
    """What went: the study, and the versions of it that share its instances."""

    study_ids: tuple[str, ...]
    runs: int
    objects: int


def erase_study(
    session: Session,
    study: StudyRow,
    actor: Actor,
    *,
    reason: str,
    store: ObjectStore,
    vault: IdentifierVault,
    trail: AuditTrail,
) -> Erased:
    """Erase in the caller's transaction; ``finish_erasures`` then removes the objects.

    Raises ServiceError("study_in_work") while a worker holds a stage: what it is about to write would be left behind.
    """
    study_ids = tuple(sorted(versions_of(session, study.id)))
    in_work = select(RunRow.id).where(RunRow.study_id.in_(study_ids), RunRow.status.in_(IN_WORK)).limit(1)
    copying = (
        select(StudyRow.id).where(StudyRow.id.in_(study_ids), StudyRow.working_status == CopyStatus.COPYING).limit(1)
    )
    if session.scalars(in_work).first() or session.scalars(copying).first():
        raise ServiceError("study_in_work")
    keys = keys_of(session, store, study_ids)
    runs = select(func.count()).select_from(RunRow).where(RunRow.study_id.in_(study_ids))
    erased = Erased(study_ids, session.execute(runs).scalar_one(), len(keys))
    now, site = now_of(session), study.site
    _delete_pulls(session, vault, study_ids, site)
    delete_rows(session, study_ids)
    forget(session, study_ids)
    for study_id in study_ids:
        here = study_id == study_ids[0]
        session.add(
            TombstoneRow(
                study_id=study_id,
                site=site,
                erased_at=now,
                actor_kind=actor.kind,
                actor=actor.name,
                runs=erased.runs if here else 0,
                objects=keys if here else [],
                finished_at=None if here else now,
            )
        )
        detail: dict[str, str | int] = {"reason": reason, "runs": erased.runs, "objects": len(keys)}
        trail.append(session, AuditEvent(actor, Action.ERASE, object_kind="study", object_id=study_id, detail=detail))
    return erased


def finish_erasures(database: Database, store: ObjectStore) -> int:
    """Remove the objects of what was erased; how many studies were finished. Safe to be broken off and repeated."""
    with database.read() as session:
        pending = session.scalars(select(TombstoneRow).where(TombstoneRow.finished_at.is_(None))).all()
    for tombstone in pending:
        for key in tombstone.objects:
            store.delete(key)
        with database.write() as session:
            row = session.get_one(TombstoneRow, tombstone.study_id)
            row.objects, row.finished_at = [], db_now()
        log.info("erasure_finished", study_id=tombstone.study_id, objects=len(tombstone.objects))
    return len(pending)


def _delete_pulls(session: Session, vault: IdentifierVault, study_ids: tuple[str, ...], site: str) -> None:
    """Delete pulls that ask for this study or this patient: they hold, encrypted, what was asked for."""
    named = {
        (kind, text.strip())
        for study_id in study_ids
        for kind in ("study_uid", "accession_number", "patient_id")
        for before in ("", FORMER)
        if (text := vault.read(session, study_id, before + kind)) is not None
    }
    doomed = []
    for pull in session.scalars(select(PullRow).where(PullRow.site == site)):
        wanted = Wanted.model_validate_json(vault.unseal(pull.wanted, pull.id))
        asked = {("study_uid", wanted.study_uid), ("accession_number", wanted.accession)}
        if wanted.query is not None:
            asked.add(("patient_id", wanted.query.patient_id))
        if asked & named:
            doomed.append(pull)
    gone = {pull.id for pull in doomed}
    for pull in doomed:
        for child in session.scalars(select(PullRow).where(PullRow.parent_id == pull.id, PullRow.id.not_in(gone))):
            child.parent_id = None
        session.delete(pull)
    session.flush()
