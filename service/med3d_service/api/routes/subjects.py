"""Subjects: whose scans belong together, and how they change."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import func, select

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.cohorts.figures import draw_figures
from med3d_service.cohorts.trajectory import Trajectory, answered_runs, stated_errors, subject_studies, trajectory
from med3d_service.cohorts.trajectory_chart import trajectory_svg
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs.bundles import find_bundle
from med3d_service.trust.access import Viewer

router = APIRouter(tags=["subjects"])
SVG = "image/svg+xml"
SubjectId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="as GET /subjects gives it; it names nobody")]


class Subject(Frozen):
    """A subject by its id here."""

    subject_id: str
    studies: int


@router.get(
    "/subjects",
    summary="Find a subject by the sender's pseudonym",
    responses=problems("unknown_subject", *AUTH_CODES)
    | {
        200: {
            "description": "The subject's id here",
            "content": {"application/json": {"example": {"subject_id": examples.SUBJECT_ID, "studies": 3}}},
        }
    },
)
def find_subject(
    participant_id: Annotated[str, Query(min_length=1, max_length=200)], service: ServiceParts, caller: Viewer
) -> Subject:
    """Find whose studies were sent or imported under a pseudonym."""
    subject_id = service.vault.blind_index("subject", participant_id)
    with service.database.read() as session:
        studies = subject_studies(caller, subject_id).order_by(None).subquery()
        count = session.execute(select(func.count()).select_from(studies)).scalar_one()
    if not count:
        raise ServiceError("unknown_subject")
    return Subject(subject_id=subject_id, studies=count)


@router.get(
    "/subjects/{subject_id}/trajectory",
    summary="A subject over time",
    response_model=Trajectory,
    responses=problems("unknown_subject", "unknown_bundle", "no_bundle", "bundle_forged", "not_answered", *AUTH_CODES)
    | {
        200: {
            "description": "Every visit's answer by one bundle, in the order of time; or a small chart of it",
            "content": {"application/json": {"example": examples.TRAJECTORY}, SVG: {"schema": {"type": "string"}}},
        }
    },
)
def read_trajectory(
    subject_id: SubjectId,
    service: ServiceParts,
    caller: Viewer,
    bundle: Annotated[str | None, Query(max_length=300, description="else the default one")] = None,
    format: Literal["json", "svg"] = "json",  # noqa: A002 - the word that people try
) -> Response:
    """Read brain age, gap and SDMT of all visits; the line breaks where two scans cannot be compared."""
    with service.database.read() as session:
        if session.scalars(subject_studies(caller, subject_id).limit(1)).first() is None:
            raise ServiceError("unknown_subject")
        wanted = find_bundle(session, bundle)
    draw_figures(service.database, answered_runs(caller, subject_id, wanted.digest))
    errors = stated_errors(service.store, wanted.digest)
    with service.database.read() as session:
        found = trajectory(session, service.vault, caller, subject_id, wanted, errors)
    if format == "json":
        return Response(found.model_dump_json(), media_type="application/json")
    picture = trajectory_svg(found)
    if picture is None:
        raise ServiceError("not_answered", "No scan of this subject has a number by this bundle.")
    return Response(picture, media_type=SVG)
