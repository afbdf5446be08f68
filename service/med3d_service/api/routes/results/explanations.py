"""Why a run's number is what it is: made by a worker when it is first asked for, then kept."""

import base64

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from med3d_contract.explanations import Explanation, StoredExplanation
from med3d_contract.work import ExplanationRequest, Preprocessed
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.results.pictures import PNG, answer_png
from med3d_service.api.service import Service
from med3d_service.cohorts.subjects import subjects_of
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.results.explanations import (
    ask_for_explanation,
    bundle_explains,
    can_be_explained,
    read_explanation,
    require_explainable,
)
from med3d_service.runs.fences import require_own_run
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Caller, Clinical, Viewer, Worker

router = APIRouter(tags=["reports"])
ASK_AGAIN_S = 1


@router.get(
    "/runs/{run_id}/explanation",
    summary="What adds years to a run's brain age",
    response_model=Explanation,
    responses=problems("unknown_run", "no_explanation", *AUTH_CODES)
    | {202: {"description": "A worker makes it: ask again after Retry-After seconds"}},
)
def read_shares(run_id: str, service: ServiceParts, caller: Viewer) -> Explanation | Response:
    """Read years by region and the ventricles as the decoder ages them; the first reading has a worker make it."""
    found = _found(service, caller, run_id)
    return _in_work() if found is None else found.explanation


@router.get(
    "/runs/{run_id}/explanation/picture",
    summary="A run's head ten years younger and older",
    response_class=Response,
    responses=problems("unknown_run", "no_explanation", *AUTH_CODES)
    | {
        200: {
            "description": "PNG: three planes of the head younger, as it is, older, and what changes",
            "content": PNG,
        },
        202: {"description": "A worker makes it: ask again after Retry-After seconds"},
    },
)
def read_explanation_picture(run_id: str, service: ServiceParts, caller: Clinical) -> Response:
    """Read the picture of an explanation, as the model's decoder has it; the first reading has a worker make it."""
    found = _found(service, caller, run_id)
    if found is None:
        return _in_work()
    return answer_png(base64.b64decode(found.picture.png_base64))


@router.get(
    "/worker/runs/{run_id}/explanation",
    tags=["worker"],
    summary="A run that shall be explained",
    responses=problems("unknown_run", "not_claimable", *AUTH_CODES),
)
def explanation_request(run_id: str, service: ServiceParts, caller: Worker) -> ExplanationRequest:
    """Say where the tensor lies, of which bundle the number is, and how old the subject is."""
    with service.database.read() as session:
        require_own_run(session, caller, run_id)
        run = session.query(RunRow).filter(RunRow.id == run_id).one_or_none()
        if run is None:
            raise ServiceError("unknown_run")
        if not can_be_explained(run):
            raise ServiceError("not_claimable")
        study = session.query(StudyRow).filter(StudyRow.id == run.study_id).one()
        age = subjects_of(session, [run], {study.id: study})[run.id].age
        tensor = Preprocessed.model_validate(run.preprocessed).tensor
        assert tensor is not None
        return ExplanationRequest(
            bundle_digest=run.bundle_digest, tensor=tensor, age_years=None if age is None else age.years
        )


def _found(service: Service, caller: Caller, run_id: str) -> StoredExplanation | None:
    run = require_explainable(service.database, caller, run_id, wanted=service.settings.explanations)
    found = read_explanation(service.store, run_id)
    if found is None:
        if not bundle_explains(service.store, run.bundle_digest):
            raise ServiceError("no_explanation")
        ask_for_explanation(service.broker, run_id)
    return found


def _in_work() -> Response:
    return JSONResponse({"status": "in_work"}, 202, headers={"Retry-After": str(ASK_AGAIN_S)})
