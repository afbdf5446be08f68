"""Saying that a study which arrives by C-STORE or STOW-RS is whole, so that it need not be quiet first."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.network.pulls.wanted import Uid
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.trust.access import Submitter

router = APIRouter(tags=["dicomweb"])
EXAMPLE: dict[str, Any] = {"study_id": examples.STUDY_ID, "run_id": examples.RUN_ID}


class WholeStudy(Frozen):
    """Which study, and whether it may still get the T1 series that it lacks."""

    study_uid: Annotated[Uid, Field(examples=["2.25.101"])]
    final: Annotated[
        bool, Field(description="nothing more will ever come: answer with what there is, without waiting for a T1")
    ] = False


class CompletedStudy(Frozen):
    """Null where the routing rules want nothing of what has come."""

    study_id: str | None
    run_id: str | None


@router.post(
    "/studies/complete",
    summary="Say that a study has arrived",
    responses=problems("unknown_arrival", "no_bundle", "bundle_forged", "unknown_bundle", "bundle_retired", *AUTH_CODES)
    | {200: {"description": "The study and its run", "content": {"application/json": {"example": EXAMPLE}}}},
)
def complete_study(whole: WholeStudy, service: ServiceParts, caller: Submitter) -> CompletedStudy:
    """Take a study that arrived instance by instance as whole. What comes later is looked at as late images are."""
    mark = service.arrivals.mark_final if whole.final else service.arrivals.mark_complete
    completion = mark(caller.site, whole.study_uid)
    if completion.arrival_id is None:
        raise ServiceError("unknown_arrival")
    return CompletedStudy(study_id=completion.study_id, run_id=completion.run_id)
