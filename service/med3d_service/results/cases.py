"""One run with all that a person at a screen wants to know of it, whether it has an answer or not."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from med3d_contract.explanations import Explanation
from med3d_contract.pictures import ReferenceCohort
from med3d_contract.results import RunStatus, VerdictView
from med3d_service.cohorts.person import Person, read_person, subject_id_of
from med3d_service.cohorts.trajectory import subject_studies
from med3d_service.problems import ServiceError
from med3d_service.results.delivery.states import DeliveryStatus
from med3d_service.results.explanations import can_be_explained, read_explanation
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.facts import PatientIdentity, patients_of, read_cohort
from med3d_service.results.reports.kept import Parts
from med3d_service.results.volumes import volumes_request
from med3d_service.runs.fences import is_seen_run
from med3d_service.runs.verdicts import verdicts_on
from med3d_service.runs.views import moment
from med3d_service.runs.worklist import ListedRun, listed_run
from med3d_service.storage.tables import DeliveryRow, RunEventRow, RunRow, StudyRow
from med3d_service.studies.working_copy.messages import SERIES_DESCRIPTIONS
from med3d_service.trust.access import Caller

_SERIES_NUMBER = re.compile(r"series (\d+)\b")
MOST_EVENTS = 200


@dataclass(frozen=True)
class CaseEvent:
    """Something that happened to the run."""

    at: datetime
    status: RunStatus
    stage: str | None
    code: str | None


@dataclass(frozen=True)
class CaseDelivery:
    """An object of the run on its way out."""

    kind: Kind
    destination: str
    status: DeliveryStatus
    fault: str | None


@dataclass(frozen=True)
class CaseIdentity:
    """Who it is, for those who may know: the patients whom the images name, and what a PACS shows of the study."""

    patients: tuple[PatientIdentity, ...] = field(repr=False)
    study_date: str = field(repr=False)
    accession_number: str = field(repr=False)
    descriptions: Mapping[str, str] = field(repr=False)

    def described(self, label: str) -> str:
        """Return what the scanner calls the series of one of our labels; empty where it is not known for sure."""
        found = _SERIES_NUMBER.match(label)
        return "" if found is None else self.descriptions.get(found[1], "")


@dataclass(frozen=True)
class Case:
    """A run and what stands around it. ``identity``: None for a caller without the clinical grant.

    has_pictures: slices through the brain can be shown. has_volumes: the head can. pseudonym: the sender's own.
    explanation: None where none was made yet. person: this and other visits of the same person by the same bundle; None
    where there are no others.
    """

    listed: ListedRun
    pseudonym: str | None = field(repr=False)
    files: int
    has_pictures: bool
    has_volumes: bool
    can_be_explained: bool
    explanation: Explanation | None
    events: tuple[CaseEvent, ...]
    deliveries: tuple[CaseDelivery, ...]
    others: tuple[ListedRun, ...]
    verdicts: tuple[VerdictView, ...]
    cohort: ReferenceCohort | None
    identity: CaseIdentity | None = field(repr=False)
    subject_id: str | None
    person: Person | None = field(repr=False, default=None)


def read_case(parts: Parts, caller: Caller, run_id: str) -> Case | None:
    """Read a run that ``caller`` may see; None where there is no such run."""
    with parts.database.read() as session:
        listed = listed_run(session, parts.vault, caller, run_id)
        if listed is None:
            return None
        study = session.scalars(select(StudyRow).where(StudyRow.id == listed.run.study_id)).one()
        row = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
        has_cohort = listed.run.result is not None
        subject_id = subject_id_of(session, study.id)
        explainable = can_be_explained(row)
        explained = read_explanation(parts.store, run_id) if explainable else None
        case = Case(
            listed=listed,
            pseudonym=parts.vault.read(session, study.id, "subject"),
            files=study.files,
            has_pictures=listed.has_pictures,
            has_volumes=volumes_request(session, row) is not None,
            can_be_explained=explainable,
            explanation=explained.explanation if explained else None,
            events=_events(session, run_id),
            deliveries=_deliveries(session, run_id),
            others=_others(session, parts, caller, listed),
            verdicts=tuple(verdicts_on(session, parts.vault, run_id)),
            cohort=read_cohort(parts.store, listed.run.bundle.digest) if has_cohort else None,
            identity=_identity(parts, session, study) if caller.clinical else None,
            subject_id=subject_id,
        )
        studies = () if subject_id is None else session.scalars(subject_studies(caller, subject_id).limit(2)).all()
    return (
        case
        if subject_id is None or len(studies) < 2
        else replace(case, person=_person(parts, caller, case, subject_id))
    )


def _person(parts: Parts, caller: Caller, case: Case, subject_id: str) -> Person | None:
    """Read the person's other visits; a bundle that is not believed any more has no say on them."""
    try:
        found = read_person(parts.database, parts.store, parts.vault, caller, subject_id, case.listed.run.bundle.digest)
    except ServiceError:
        return None
    return found if any(visit.study_id != case.listed.run.study_id for visit in found.trajectory.visits) else None


def _events(session: Session, run_id: str) -> tuple[CaseEvent, ...]:
    query = select(RunEventRow).where(RunEventRow.run_id == run_id).order_by(RunEventRow.seq).limit(MOST_EVENTS)
    return tuple(
        CaseEvent(moment(event.at), RunStatus(event.status), event.stage, event.code)
        for event in session.scalars(query)
    )


def _deliveries(session: Session, run_id: str) -> tuple[CaseDelivery, ...]:
    query = select(DeliveryRow).where(DeliveryRow.run_id == run_id).order_by(DeliveryRow.seq)
    return tuple(
        CaseDelivery(Kind(row.kind), row.destination, DeliveryStatus(row.status), row.fault)
        for row in session.scalars(query)
    )


def _others(session: Session, parts: Parts, caller: Caller, listed: ListedRun) -> tuple[ListedRun, ...]:
    """Return the other runs of the study, newest first."""
    query = select(RunRow.id).where(RunRow.study_id == listed.run.study_id, RunRow.id != listed.run.run_id)
    found = (
        listed_run(session, parts.vault, caller, one)
        for one in session.scalars(query.order_by(RunRow.seq.desc()).limit(20))
    )
    return tuple(one for one in found if one is not None)


def _identity(parts: Parts, session: Session, study: StudyRow) -> CaseIdentity:
    def identifier(kind: str) -> str:
        return parts.vault.read(session, study.id, kind) or ""

    return CaseIdentity(
        patients=patients_of(session, parts.vault, study),
        study_date=identifier("study_date"),
        accession_number=identifier("accession_number"),
        descriptions=json.loads(identifier(SERIES_DESCRIPTIONS) or "{}"),
    )


def count_dead_deliveries(session: Session, caller: Caller) -> int:
    """Count what could not be delivered and waits for a person."""
    is_seen = exists().where(RunRow.id == DeliveryRow.run_id, is_seen_run(caller))
    query = select(func.count()).select_from(DeliveryRow).where(DeliveryRow.status == DeliveryStatus.DEAD, is_seen)
    return session.execute(query).scalar_one()
