"""A patient corrected by a message without images: the studies' identity is updated in place, and answers made anew.

What was is kept encrypted as former. Every answered run gets a successor, whose objects go out under the new identity
with UIDs of their own; where birth date or sex changed, its numbers are made anew, too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from med3d_contract.ages import read_age, storable_age
from med3d_contract.scan_dates import DatesBeside
from med3d_service.runs.reissuing import reissue
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.database import now_of
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.studies.patient_corrections import BIRTH_DATE, ID, ISSUER, KINDS, KnownAs, PatientUpdate
from med3d_service.studies.remembered_updates import Meant, remember
from med3d_service.studies.standing_merges import keep_merge, merges_of
from med3d_service.studies.working_copy.messages import PATIENTS, SCAN_DATE, STUDY_ATTRIBUTES
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail

log = structlog.get_logger()


@dataclass(frozen=True)
class Corrector:
    """Who corrects, and by what; within one transaction. authority: of images that name no issuer, empty for any.

    keeps_merges: whether they count for images that come later, too.
    """

    session: Session
    vault: IdentifierVault
    trail: AuditTrail
    site: str
    authority: str
    actor: Actor
    keeps_merges: bool = True

    def apply(self, updates: Sequence[PatientUpdate]) -> int:
        """Correct all studies that are meant; how many were not as the updates say. Raises UpdateRefusedError."""
        corrected = 0
        for one in (step for told in updates for step in (told, *self._steps_after(told))):
            self._remember_for_unread(one)
            for study, known in self._meant(one):
                corrected += self._update_study(study, one, known)
        return corrected

    def _steps_after(self, told: PatientUpdate) -> list[PatientUpdate]:
        """Keep a merge; those that were told before it, by which who stays has become yet another patient."""
        if not told.becomes or not self.keeps_merges:
            return []
        keep_merge(self.session, self.vault, self.site, told, self.authority)
        ids = dict.fromkeys(known.patient_id for known in told.becomes)
        return [step for one in ids for _, step, _ in merges_of(self.session, self.vault, self.site, one)]

    def _meant(self, told: PatientUpdate) -> list[tuple[StudyRow, KnownAs]]:
        """Return the studies of one patient each that have one of the identifiers."""
        found: dict[str, tuple[StudyRow, KnownAs]] = {}
        for sought in told.sought:
            ids = self.session.scalars(self.vault.find(ID, sought.patient_id)).all()
            of_site = select(StudyRow).where(
                StudyRow.id.in_(ids), StudyRow.site == self.site, StudyRow.corrected_by.is_(None)
            )
            for study in self.session.scalars(of_site.order_by(StudyRow.seq).with_for_update()):
                issuer = self.vault.read(self.session, study.id, ISSUER) or self.authority
                known = told.means(sought.patient_id, issuer)
                if known is None or self.vault.read(self.session, study.id, PATIENTS) is not None:
                    continue
                if not issuer:
                    told.require_one_authority()
                found.setdefault(study.id, (study, known))
        return list(found.values())

    def _remember_for_unread(self, told: PatientUpdate) -> None:
        """Keep the update for images that arrive, and that nobody has read yet: whose they are is known by index."""
        for sought in told.sought:
            index = self.vault.blind_index(ID, sought.patient_id)
            arriving = select(ArrivalRow).where(ArrivalRow.site == self.site, ArrivalRow.patient_index == index)
            for arrival in self.session.scalars(arriving.with_for_update()).all():
                if not self._is_read(arrival):
                    if not self.authority:
                        told.require_one_authority()
                    new = told.becomes_of(KnownAs(sought.patient_id, sought.authority or self.authority)) or sought
                    meant = Meant(None, arrival.id)
                    becomes = self.vault.blind_index(ID, new.patient_id)
                    remember(self.session, self.vault, told, meant, index, becomes)
                    if new.patient_id != sought.patient_id:
                        _readdress(self.session, self.vault, [arrival], new.patient_id)

    def _is_read(self, arrival: ArrivalRow) -> bool:
        """Tell whether a courier has read whose the images are; of one that is at it, the rows are waited for."""
        ids = [one for one in (arrival.study_id, arrival.late_study_id) if one is not None]
        self.session.scalars(select(StudyRow.seq).where(StudyRow.id.in_(ids)).with_for_update()).all()
        return bool(ids) and len(self.vault.read_all(self.session, ids, ID)) == len(ids)

    def _update_study(self, study: StudyRow, told: PatientUpdate, known: KnownAs) -> bool:
        session, vault = self.session, self.vault
        before = {kind: vault.read(session, study.id, kind) or "" for kind in KINDS}
        new = told.changes(known, before)
        other_sex = told.sex is not None and (told.sex or None) != study.found_sex
        if not new and not other_sex:
            return False
        vault.retire(session, study.id, new.keys())
        for kind, text in new.items():
            if text:
                vault.keep(session, study.id, kind, text)
        if other_sex:
            study.found_sex = told.sex or None
        if BIRTH_DATE in new:
            _set_age(session, vault, study, new[BIRTH_DATE])
        self._remember_for(study, told, before[ID], new.get(ID, before[ID]))
        runs = _reissue_runs(session, study, measured_otherwise=BIRTH_DATE in new or other_sex)
        changed = ",".join(sorted([*new, *(["sex"] if other_sex else [])]))
        detail: dict[str, str | int] = {"change": "identity_corrected", "attributes": changed, "runs": runs}
        event = AuditEvent(self.actor, Action.CHANGE, object_kind="study", object_id=study.id, detail=detail)
        self.trail.append(session, event)
        log.info("identity_corrected", study_id=study.id, attributes=changed, runs=runs)
        return True

    def _remember_for(self, study: StudyRow, told: PatientUpdate, before: str, after: str) -> None:
        """Keep the update for what is read of the study later, and let what still arrives of it come under its id."""
        of_it = or_(ArrivalRow.study_id == study.id, ArrivalRow.late_study_id == study.id)
        arrivals = self.session.scalars(select(ArrivalRow).where(of_it)).all()
        meant = [Meant(study.id, one.id) for one in arrivals] or [Meant(study.id, None)]
        for one in meant:
            indices = (self.vault.blind_index(ID, text) for text in (before, after))
            remember(self.session, self.vault, told, one, *indices)
        if after != before:
            _readdress(self.session, self.vault, arrivals, after)


def _set_age(session: Session, vault: IdentifierVault, study: StudyRow, birth_date: str) -> None:
    """Take the age from the new birth date alone; what the images state was the old one's."""
    study_date, beside = (vault.read(session, study.id, kind) or "" for kind in ("study_date", SCAN_DATE))
    age = storable_age(read_age(birth_date=birth_date, study_date=study_date, beside=DatesBeside(beside)))
    study.found_age = age
    study.series_ages = None if study.series_ages is None else dict.fromkeys(study.series_ages, age)
    attributes: Mapping[str, str] = json.loads(vault.read(session, study.id, STUDY_ATTRIBUTES) or "{}")
    if "patient_age" in attributes:
        vault.retire(session, study.id, [STUDY_ATTRIBUTES])
        kept = {name: text for name, text in attributes.items() if name != "patient_age"}
        vault.keep(session, study.id, STUDY_ATTRIBUTES, json.dumps(kept))


def _readdress(session: Session, vault: IdentifierVault, arrivals: Sequence[ArrivalRow], patient_id: str) -> None:
    """Send what still arrives of the study under the new id."""
    index = vault.blind_index(ID, patient_id)
    for arrival in arrivals:
        arrival.patient_index = index
        session.execute(
            update(ArrivedInstanceRow)
            .where(ArrivedInstanceRow.arrival_id == arrival.id, ArrivedInstanceRow.patient_index.is_not(None))
            .values(patient_index=index)
            .execution_options(synchronize_session=False)
        )


def _reissue_runs(session: Session, study: StudyRow, *, measured_otherwise: bool) -> int:
    of_it = select(RunRow).where(RunRow.study_id == study.id).order_by(RunRow.seq)
    for earlier in session.scalars(of_it.where(RunRow.superseded_by.is_not(None), RunRow.withdrawn_at.is_(None))):
        earlier.withdrawn_at = now_of(session)  # what was made of it names who the patient is not
    runs = session.scalars(of_it.where(RunRow.superseded_by.is_(None)).with_for_update()).all()
    return sum(reissue(session, study, run, also_unanswered=measured_otherwise) for run in runs)
