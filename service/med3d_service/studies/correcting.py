"""A study whose patient was corrected at the PACS: it is analysed anew, and what was said under the old name withdrawn.

The corrected images are another study by their digests, with a run of its own, whose objects have UIDs of their own and
name the old ones as their predecessors. The study before keeps its answers and loses its identity, which stays
encrypted as what it was: nobody finds it by the old patient, and nothing can be written under that name any more.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import Refusal
from med3d_service.problems import CATALOGUE
from med3d_service.runs.superseding import withdraw
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow, RetiredIdentityRow
from med3d_service.storage.copy_states import ANY, TO_BE_COPIED, CopyStatus, move_copy
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail

CODE = "identity_corrected"


def patients_of_instances(session: Session, arrival: ArrivalRow) -> set[str]:
    """The patients whom the instances of an arrival name now, by their indices."""
    named = select(ArrivedInstanceRow.patient_index).where(
        ArrivedInstanceRow.arrival_id == arrival.id, ArrivedInstanceRow.patient_index.is_not(None)
    )
    return {index for index in session.scalars(named.distinct()) if index is not None}


def withdraw_study(session: Session, vault: IdentifierVault, study_id: str, successor: RunRow) -> None:
    """Take a study out of the old patient's file; the study of ``successor`` holds its images now."""
    refusal = Refusal(code=CODE, reason=CATALOGUE[CODE][1])
    move_copy(
        session, study_id, TO_BE_COPIED, CopyStatus.REFUSED, refusal=refusal.model_dump(mode="json")
    )  # its courier must not bring the old identity back
    withdraw(session, study_id, successor)
    session.scalars(select(StudyRow).where(StudyRow.id == study_id)).one().corrected_by = successor.study_id
    vault.retire(session, study_id)


def readmit_study(session: Session, study: StudyRow) -> None:
    """Let a study stand again whose correction was taken back: a courier reads its identity anew."""
    move_copy(session, study.id, ANY, CopyStatus.WAITING, working_tries=0, refusal=None, corrected_by=None)


def withdraw_double(session: Session, vault: IdentifierVault, trail: AuditTrail, study_id: str) -> str | None:
    """Withdraw the study that showed the very same images under other UIDs; its id, None where there is none.

    Both arrived by themselves: the PACS has made the one of the other (as Orthanc does where it modifies a study).
    """
    study = session.scalars(select(StudyRow).where(StudyRow.id == study_id)).one()
    if study.pixel_digest is None:
        return None
    arrived = select(ArrivalRow.study_id)
    double = (
        select(StudyRow.id)
        .where(
            StudyRow.site == study.site,
            StudyRow.pixel_digest == study.pixel_digest,
            StudyRow.seq < study.seq,
            StudyRow.corrected_by.is_(None),
            StudyRow.id.in_(arrived.where(ArrivalRow.study_id == StudyRow.id)),
        )
        .order_by(StudyRow.seq.desc())
    )
    arrival = session.scalars(select(ArrivalRow).where(ArrivalRow.study_id == study.id)).first()
    before = None if arrival is None else session.scalars(double).first()
    run = session.scalars(
        select(RunRow).where(RunRow.study_id == study.id, RunRow.superseded_by.is_(None)).order_by(RunRow.seq.desc())
    ).first()
    if arrival is None or before is None or run is None:
        return None
    withdraw_study(session, vault, before, run)
    name, _, address = arrival.sender.rpartition("@")
    actor = Actor("peer", name or arrival.source, address=address)
    trail.append(session, _event(actor, study.id, before, arrival.instances))
    return before


def corrected_event(session: Session, arrival: ArrivalRow, before: str) -> AuditEvent:
    """Say who corrected the study ``before``, and which holds its images now."""
    latest = (
        select(RetiredIdentityRow.corrected_by)
        .where(RetiredIdentityRow.arrival_id == arrival.id)
        .order_by(RetiredIdentityRow.retired_at.desc())
    )
    actor = Actor("peer", session.scalars(latest).first() or arrival.source)
    return _event(actor, arrival.study_id or "", before, arrival.instances)


def _event(actor: Actor, study_id: str, before: str, instances: int) -> AuditEvent:
    detail: dict[str, str | int] = {"change": CODE, "former_study": before, "instances": instances}
    return AuditEvent(actor, Action.CHANGE, object_kind="study", object_id=study_id, detail=detail)
