"""The slices that show whether a run's brain was found, as PNG: pixels of a head, which take the clinical grant."""

import base64
from typing import Literal

from fastapi import APIRouter, Response

from med3d_service.api.routes import ServiceParts
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.results.reports.facts import read_pictures
from med3d_service.runs.fences import find_run
from med3d_service.trust.access import Clinical

router = APIRouter(tags=["reports"])
PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
"""The content of an answer in the API's description."""


def answer_png(content: bytes) -> Response:
    """Answer with a picture that no cache may keep: it shows a person's head."""
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, no-store"})


@router.get(
    "/runs/{run_id}/pictures/{plane}",
    summary="A slice through a run's brain",
    response_class=Response,
    responses=problems("unknown_run", "no_pictures", *AUTH_CODES)
    | {
        200: {
            "description": "PNG in radiological view (the patient's right is left), with the outline of the brain",
            "content": PNG,
        }
    },
)
def read_picture(
    run_id: str, plane: Literal["axial", "coronal", "sagittal"], service: ServiceParts, caller: Clinical
) -> Response:
    """Read one of the three slices through the brain as it was found, of a refused run, too."""
    with service.database.read() as session:
        run = find_run(session, caller, run_id)
    found = read_pictures(service.store, run)
    for picture in () if found is None else found.pictures:
        if picture.plane == plane:
            content = base64.b64decode(picture.png_base64)
            return answer_png(content)
    raise ServiceError("no_pictures")
