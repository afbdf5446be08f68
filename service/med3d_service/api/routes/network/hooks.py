"""The route that an Orthanc's OnStableStudy hook calls (deploy/orthanc)."""

from typing import Annotated, Any

import structlog
from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response
from pydantic import StringConstraints

from med3d_contract.results import Frozen
from med3d_service.api.door import ReadsAsItComes
from med3d_service.api.routes import ServiceParts
from med3d_service.network.pulls.hooks import StableStudy
from med3d_service.problems import ServiceError, problems

log = structlog.get_logger()
router = APIRouter(tags=["hooks"])
MAX_BODY_BYTES = 4096

BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": StableStudy.model_json_schema(ref_template="#/components/schemas/{model}"),
            "example": {
                "study_uid": "2.25.101",
                "last_update": "20260105T090000",
                "timestamp": 1767603600,
                "nonce": "d5b1f5f2-6f5e-4d5c-9b8e-0d8f3b1c2a11",
            },
        }
    },
}
Signature = Annotated[
    str, StringConstraints(max_length=200), Header(description="HMAC-SHA256 of the body under the hook's secret, hex")
]
PeerName = Annotated[
    str, StringConstraints(max_length=64), Header(description="this Orthanc's name in the peers' file")
]


class HookAccepted(Frozen):
    """The study will be fetched."""

    pull_id: str


@router.post(
    "/hooks/orthanc",
    status_code=202,
    dependencies=[ReadsAsItComes],
    summary="A study is stable in a peer that is an Orthanc",
    responses=problems("hook_not_signed", "hook_stale", "hook_replayed", "upload_too_large", "too_many_requests")
    | {200: {"model": HookAccepted, "description": "This state of the study was known"}},
    openapi_extra={"requestBody": BODY},
)
async def orthanc_hook(
    request: Request,
    response: Response,
    service: ServiceParts,
    x_med3d_peer: PeerName = "",
    x_med3d_signature: Signature = "",
) -> HookAccepted:
    """Take note that a study is stable, and fetch it from that peer over DICOMweb."""
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > MAX_BODY_BYTES:
            raise ServiceError("upload_too_large")
    try:
        pull_id, known = await to_thread.run_sync(service.hooks.accept, x_med3d_peer, x_med3d_signature, bytes(body))
    except ServiceError as error:
        if error.status == 401:
            request.app.state.gate.throttle.note_failure(request.client.host if request.client else "local")
        log.warning("hook_refused", code=error.code)  # Orthanc tells nobody of the answer
        raise
    log.info("hook_heeded", pull_id=pull_id, known=known)
    response.status_code = 200 if known else 202
    return HookAccepted(pull_id=pull_id)
