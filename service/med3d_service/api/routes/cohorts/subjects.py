"""Subjects: whose scans belong together, and how they change."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import func, select

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.cohorts.charts.trajectory_chart import ENGLISH, ChartWords, draw_trajectory
from med3d_service.cohorts.export import as_csv
from med3d_service.cohorts.person import COLUMNS, read_trajectory_of, visit_rows
from med3d_service.cohorts.trajectory import Trajectory, subject_studies
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.trust.access import Viewer

router = APIRouter(tags=["subjects"])
CSV = "text/csv"
FIGURES = {"svg": "image/svg+xml", "png": "image/png", "pdf": "application/pdf"}
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
            "description": "Every visit's answer by one bundle, in the order of time; or a table, or a figure of it",
            "content": {
                "application/json": {"example": examples.TRAJECTORY},
                CSV: {"schema": {"type": "string"}},
                FIGURES["svg"]: {"schema": {"type": "string"}},
                FIGURES["png"]: {"schema": {"type": "string", "format": "binary"}},
                FIGURES["pdf"]: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
def read_trajectory(
    subject_id: SubjectId,
    service: ServiceParts,
    caller: Viewer,
    bundle: Annotated[str | None, Query(max_length=300, description="else the default one")] = None,
    format: Literal["json", "csv", "svg", "png", "pdf"] = "json",  # noqa: A002 - the word that people try
) -> Response:
    """Read brain age, gap and SDMT of all visits; the line breaks where two scans cannot be compared."""
    found = read_trajectory_of(service.database, service.store, service.vault, caller, subject_id, bundle)
    if format == "json":
        return Response(found.model_dump_json(), media_type="application/json")
    if format == "csv":
        return Response(b"".join(as_csv(COLUMNS, visit_rows(found))), media_type=CSV, headers=_named(found, "csv"))
    return answer_by_figure(found, format, ENGLISH)


def answer_by_figure(found: Trajectory, form: str, words: ChartWords) -> Response:
    """Draw the visits as SVG, PNG or PDF; nothing in it says who it is. Raises ServiceError("not_answered")."""
    drawn = draw_trajectory(found, words)
    if drawn is None:
        raise ServiceError("not_answered", "No scan of this subject has a number by this bundle.")
    return Response(drawn.as_form(form), media_type=FIGURES[form], headers=_named(found, form))


def _named(found: Trajectory, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="visits-{found.subject_id[:8]}.{ending}"'}
