"""A patient corrected by a message without images: the studies' identity is updated in place, and answers made anew.

What was is kept encrypted as former. Every answered run gets a successor, whose objects go out under the new identity
with UIDs of their own; where birth date or sex changed, its numbers are made anew, too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from med3d_contract.ages import read_age, storable_age
from med3d_service.runs.reissuing import reissue
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.studies.working_copy.messages import PATIENTS, STUDY_ATTRIBUTES
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail

log = structlog.get_logger()
_KINDS = ("patient_id", "issuer_of_patient_id", "patient_name", "birth_date")


@dataclass(frozen=True)
class KnownAs:
    """An identifier of a patient, and who assigned it (empty where that is not said)."""

    patient_id: str = field(repr=False)
    authority: str = ""


@dataclass(frozen=True)
class PatientUpdate:
    """One patient's correction. None leaves as it is; empty text takes away.

    sought: whose studies are meant. becomes: the identifiers that are theirs from now on; none: those that they have.
    """

    sought: tuple[KnownAs, ...]
    becomes: tuple[KnownAs, ...]
    name: str | None = field(repr=False)
    birth_date: str | None = field(repr=False)
    sex: str | None


def update_patients(
    session: Session,
    vault: IdentifierVault,
    trail: AuditTrail,
    site: str,
    updates: Sequence[PatientUpdate],
    actor: Actor,
) -> int:
    """Correct all studies that are meant; how many were not as the updates say."""
    corrected = 0
    for one in updates:
        for study, known in _meant(session, vault, site, one.sought):
            corrected += _update_study(session, vault, trail, study, _Change(one, known), actor)
    return corrected


@dataclass(frozen=True)
class _Change:
    update: PatientUpdate
    known: KnownAs

    @property
    def identifiers(self) -> dict[str, str]:
        """What the identifiers become, as far as the update says."""
        told = {"patient_name": self.update.name, "birth_date": self.update.birth_date}
        found = {kind: text for kind, text in told.items() if text is not None}
        if self.update.becomes:
            same = [one for one in self.update.becomes if one.authority == self.known.authority]
            new = (same or list(self.update.becomes))[0]
            found |= {"patient_id": new.patient_id}
            if self.known.authority or new.authority:
                found |= {"issuer_of_patient_id": new.authority}
        return found


def _meant(
    session: Session, vault: IdentifierVault, site: str, sought: Sequence[KnownAs]
) -> list[tuple[StudyRow, KnownAs]]:
    """The studies of one patient each that have one of these identifiers, from the same authority where both say it."""
    found: dict[str, tuple[StudyRow, KnownAs]] = {}
    for known in sought:
        ids = session.scalars(vault.find("patient_id", known.patient_id)).all()
        of_site = select(StudyRow).where(StudyRow.id.in_(ids), StudyRow.site == site, StudyRow.corrected_by.is_(None))
        for study in session.scalars(of_site.order_by(StudyRow.seq)):
            issuer = vault.read(session, study.id, "issuer_of_patient_id") or ""
            several = vault.read(session, study.id, PATIENTS) is not None
            if not several and (not issuer or not known.authority or issuer == known.authority):
                found.setdefault(study.id, (study, KnownAs(known.patient_id, issuer)))
    return list(found.values())


def _update_study(
    session: Session, vault: IdentifierVault, trail: AuditTrail, study: StudyRow, change: _Change, actor: Actor
) -> bool:
    before = {kind: vault.read(session, study.id, kind) or "" for kind in _KINDS}
    new = {kind: text for kind, text in change.identifiers.items() if text != before[kind]}
    sex = change.update.sex
    other_sex = sex is not None and (sex or None) != study.found_sex
    if not new and not other_sex:
        return False
    vault.retire(session, study.id, new.keys())
    for kind, text in new.items():
        if text:
            vault.keep(session, study.id, kind, text)
    if other_sex:
        study.found_sex = sex or None
    if "birth_date" in new:
        _set_age(session, vault, study, new["birth_date"])
    if "patient_id" in new:
        _readdress_arrival(session, vault, study, new["patient_id"])
    runs = _reissue_runs(session, study, measured_otherwise="birth_date" in new or other_sex)
    changed = ",".join(sorted([*new, *(["sex"] if other_sex else [])]))
    detail: dict[str, str | int] = {"change": "identity_corrected", "attributes": changed, "runs": runs}
    trail.append(session, AuditEvent(actor, Action.CHANGE, object_kind="study", object_id=study.id, detail=detail))
    log.info("identity_corrected", study_id=study.id, attributes=changed, runs=runs)
    return True


def _set_age(session: Session, vault: IdentifierVault, study: StudyRow, birth_date: str) -> None:
    """Take the age from the new birth date alone; what the images state was the old one's."""
    age = storable_age(
        read_age(birth_date=birth_date, study_date=vault.read(session, study.id, "study_date") or "", patient_age="")
    )
    study.found_age = age
    study.series_ages = None if study.series_ages is None else dict.fromkeys(study.series_ages, age)
    attributes: Mapping[str, str] = json.loads(vault.read(session, study.id, STUDY_ATTRIBUTES) or "{}")
    if "patient_age" in attributes:
        vault.retire(session, study.id, [STUDY_ATTRIBUTES])
        kept = {name: text for name, text in attributes.items() if name != "patient_age"}
        vault.keep(session, study.id, STUDY_ATTRIBUTES, json.dumps(kept))


def _readdress_arrival(session: Session, vault: IdentifierVault, study: StudyRow, patient_id: str) -> None:
    """What still arrives of the study comes under the new id."""
    index = vault.blind_index("patient_id", patient_id)
    for arrival in session.scalars(select(ArrivalRow).where(ArrivalRow.study_id == study.id)).all():
        arrival.patient_index = index
        session.execute(
            update(ArrivedInstanceRow)
            .where(ArrivedInstanceRow.arrival_id == arrival.id, ArrivedInstanceRow.patient_index.is_not(None))
            .values(patient_index=index)
            .execution_options(synchronize_session=False)
        )


def _reissue_runs(session: Session, study: StudyRow, *, measured_otherwise: bool) -> int:
    current = select(RunRow).where(RunRow.study_id == study.id, RunRow.superseded_by.is_(None)).order_by(RunRow.seq)
    runs = session.scalars(current.with_for_update()).all()
    return sum(reissue(session, study, run, also_unanswered=measured_otherwise) for run in runs)
