"""Whom a study is of, for those who may know: all of them where its images name several."""

from fastapi import APIRouter
from sqlalchemy import select

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.results.reports.facts import patients_of
from med3d_service.storage.tables import StudyRow
from med3d_service.trust.access import Clinical

router = APIRouter(tags=["studies"])


class NamedPatient(Frozen):
    """A patient as the images name them; empty where they do not say."""

    patient_id: str
    name: str
    birth_date: str


class StudyPatients(Frozen):
    """The patients whom the images of a study name: one, or several where it is refused for that."""

    study_id: str
    items: tuple[NamedPatient, ...]


@router.get(
    "/studies/{study_id}/patients",
    summary="Read whom a study is of",
    responses=problems("unknown_study", *AUTH_CODES)
    | {
        200: {
            "description": "Its patient, or all whom its images name",
            "content": {"application/json": {"example": examples.STUDY_PATIENTS}},
        }
    },
)
def read_patients(study_id: str, service: ServiceParts, caller: Clinical) -> StudyPatients:
    """Read the patients of a study; none where its images name nobody."""
    with service.database.read() as session:
        query = select(StudyRow).where(StudyRow.id == study_id, caller.sees(StudyRow.site))
        study = session.scalars(query).first()
        if study is None:
            raise ServiceError("unknown_study")
        found = patients_of(session, service.vault, study)
    named = (NamedPatient(patient_id=one.patient_id, name=one.name, birth_date=one.birth_date) for one in found)
    return StudyPatients(study_id=study_id, items=tuple(named))
