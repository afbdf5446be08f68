"""A study whose patient was corrected at the PACS: it is analysed anew, and what was said under the old name withdrawn.

The corrected images are another study by their digests, with a run of its own, whose objects have UIDs of their own and
name the old ones as their predecessors. The study before keeps its answers and loses its identity, which stays
encrypted as what it was: nobody finds it by the old patient, and nothing can be written under that name any more.
"""

from collections.abc import Sequence

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from med3d_contract.results import Refusal
from med3d_service.problems import CATALOGUE
from med3d_service.runs.superseding import withdraw
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow, RetiredIdentityRow
from med3d_service.storage.copy_states import ANY, TO_BE_COPIED, CopyStatus, move_copy
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import IdentifierRow, RunRow, StudyRow
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail

CODE = "identity_corrected"


def patients_of_instances(session: Session, arrival: ArrivalRow) -> set[str]:
    """Return the patients whom the instances of an arrival name now, by their indices."""
    named = select(ArrivedInstanceRow.patient_index).where(
        ArrivedInstanceRow.arrival_id == arrival.id, ArrivedInstanceRow.patient_index.is_not(None)
    )
    return {index for index in session.scalars(named.distinct()) if index is not None}


def withdraw_study(session: Session, vault: IdentifierVault, study_id: str, successor: RunRow) -> None:
    """Take a study out of the old patient's file, with its earlier versions; ``successor``'s holds its images now."""
    for version in (study_id, *_earlier_versions(session, study_id, successor.study_id)):
        _withdraw_version(session, vault, version, successor)


def withdraw_others(
    session: Session, vault: IdentifierVault, study_id: str, patient_index: str | None, successor: RunRow
) -> list[str]:
    """Take earlier versions of a study that was mended out of the file of whom it is not of any more; their ids.

    Two patients under one study's UID were one who was corrected, where the images that stand are the other's.
    """
    others = [
        version
        for version in _earlier_versions(session, study_id, successor.study_id)
        if patient_index is not None and patient_index not in (_ids_of(session, version) or {patient_index})
    ]
    for version in others:
        _withdraw_version(session, vault, version, successor)
    return others


def _withdraw_version(session: Session, vault: IdentifierVault, study_id: str, successor: RunRow) -> None:
    refusal = Refusal(code=CODE, reason=CATALOGUE[CODE][1])
    move_copy(
        session, study_id, TO_BE_COPIED, CopyStatus.REFUSED, refusal=refusal.model_dump(mode="json")
    )  # its courier must not bring the old identity back
    withdraw(session, study_id, successor)
    session.scalars(select(StudyRow).where(StudyRow.id == study_id)).one().corrected_by = successor.study_id
    vault.retire(session, study_id)


def _ids_of(session: Session, study_id: str) -> set[str | None]:
    """Return the blind indices of the PatientIDs of a study."""
    of_it = IdentifierRow.study_id == study_id, IdentifierRow.kind == "patient_id"
    return set(session.scalars(select(IdentifierRow.blind_index).where(*of_it)))


def _earlier_versions(session: Session, study_id: str, successor_id: str) -> list[str]:
    """Return the studies whose answers this one's stand for (late images), and that are still the old patient's."""
    found, waiting = dict[str, None](), [study_id]
    while waiting:
        newer = select(RunRow.id).where(RunRow.study_id == waiting.pop())
        older = (
            select(RunRow.study_id)
            .join(StudyRow, StudyRow.id == RunRow.study_id)
            .where(RunRow.superseded_by.in_(newer), StudyRow.corrected_by.is_(None))
        )
        new = set(session.scalars(older.distinct())) - {study_id, successor_id, *found}
        found |= dict.fromkeys(sorted(new))
        waiting += new
    return [*found]


def readmit_study(session: Session, study: StudyRow) -> None:
    """Let a study stand again whose correction was taken back: a courier reads its identity anew."""
    move_copy(session, study.id, ANY, CopyStatus.WAITING, working_tries=0, refusal=None, corrected_by=None)


def withdraw_double(
    session: Session, vault: IdentifierVault, trail: AuditTrail, study_id: str
) -> tuple[str, str] | None:
    """Withdraw, of two studies that show the same images under other UIDs, the one that came first; the ids of both.

    Both arrived by themselves: the PACS has made the later one of the other (as Orthanc does where it modifies a
    study). None where there is no such pair. A version that waits to be looked at counts, too: late series make the
    first study's images those of the second.
    """
    shown = session.scalars(select(StudyRow).where(StudyRow.id == study_id)).one()
    here = None if shown.pixel_digest is None else session.scalars(_arrivals_of([study_id])).first()
    if here is None:
        return None
    same = select(StudyRow.id).where(
        StudyRow.site == shown.site,
        StudyRow.pixel_digest == shown.pixel_digest,
        StudyRow.id != study_id,
        StudyRow.corrected_by.is_(None),
    )
    there = _arrivals_of(session.scalars(same).all()).where(ArrivalRow.id != here.id)
    other = session.scalars(there.order_by(ArrivalRow.first_at.desc())).first()
    if other is None:
        return None
    before, after = sorted((here, other), key=lambda one: one.first_at)
    run = session.scalars(
        select(RunRow)
        .where(RunRow.study_id == after.study_id, RunRow.superseded_by.is_(None))
        .order_by(RunRow.seq.desc())
    ).first()
    if before.study_id is None or after.study_id is None or run is None:
        return None
    versions = [one for one in (before.study_id, before.late_study_id) if one is not None]
    before.late_study_id = None  # nothing is begun of it any more
    for version in versions:
        withdraw_study(session, vault, version, run)
    name, _, address = after.sender.rpartition("@")
    actor = Actor("peer", name or after.source, address=address)
    trail.append(session, _event(actor, after.study_id, before.study_id, after.instances))
    return before.study_id, after.study_id


def _arrivals_of(versions: Sequence[str]) -> Select[ArrivalRow]:
    return select(ArrivalRow).where(or_(ArrivalRow.study_id.in_(versions), ArrivalRow.late_study_id.in_(versions)))


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
