"""STOW-RS: instances come over HTTP as they would over C-STORE (PS3.18 10.5)."""

from collections import Counter
from typing import Any

import anyio
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from med3d_service.api.door import ReadsAsItComes
from med3d_service.api.http.bodies import in_thread, read_body
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.service import Service
from med3d_service.network.pulls.wanted import Uid
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.studies.arrivals.arrivals import Arrived, InstanceRefused, Source, StoreFull
from med3d_service.studies.arrivals.instance_parts import InstanceParts, TakenPart
from med3d_service.studies.arrivals.store_answer import store_answer, store_status
from med3d_service.studies.dicom_instances.related import (
    DamagedBodyError,
    NotRelatedError,
    OtherPartError,
    RelatedBody,
    TooManyPartsError,
)
from med3d_service.trust.access import Caller, Submitter
from med3d_service.trust.audit.routes import Receives

log = structlog.get_logger()
router = APIRouter(tags=["dicomweb"])

MEDIA_TYPE = "application/dicom+json"
_ACCEPTABLE = frozenset({"*/*", "application/*", MEDIA_TYPE, "application/json"})

BODY: dict[str, Any] = {
    "required": True,
    "content": {
        'multipart/related; type="application/dicom"': {
            "schema": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "contentMediaType": "application/dicom"},
                "description": "DICOM files (PS3.10), of one study or of several",
            }
        }
    },
}


class DicomJson(JSONResponse):
    """DICOM JSON; clients look for exactly this media type."""

    media_type = MEDIA_TYPE


def _answers(*statuses: tuple[int, str, Any]) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "description": description,
            "content": {MEDIA_TYPE: {"schema": {"type": "object"}, "example": example}},
        }
        for status, description, example in statuses
    }


_STORES: dict[str, Any] = {
    "status_code": 200,
    "dependencies": [Receives, ReadsAsItComes],
    "response_class": DicomJson,
    "responses": problems(
        "malformed_store",
        "too_many_files",
        "not_acceptable",
        "upload_too_large",
        "not_multipart_related",
        "store_busy",
        *AUTH_CODES,
    )
    | _answers(
        (200, "All instances are on disk", examples.STORED_ALL),
        (202, "Some instances are on disk; see the Failed SOP Sequence", examples.STORED_SOME),
        (409, "No instance was taken; see the Failed SOP Sequence", examples.STORED_NONE),
    ),
    "openapi_extra": {"requestBody": BODY},
}


@router.post("/dicomweb/studies", summary="Store instances (STOW-RS)", **_STORES)
async def store_instances(request: Request, service: ServiceParts, caller: Submitter) -> DicomJson:
    """Take instances. Those that the answer references are on disk and recorded: a loss of power does not lose them.

    A study is analysed when no more of it has come for a while, however many requests it was spread over. The same
    instance again is taken again and changes nothing.
    """
    return await _store(request, service, caller, "")


@router.post("/dicomweb/studies/{study_uid}", summary="Store instances of one study (STOW-RS)", **_STORES)
async def store_instances_of_study(
    request: Request, service: ServiceParts, caller: Submitter, study_uid: Uid
) -> DicomJson:
    """Take instances of this study, as POST /dicomweb/studies does; those of another one are not taken."""
    return await _store(request, service, caller, study_uid)


async def _store(request: Request, service: Service, caller: Caller, study_uid: str) -> DicomJson:
    if not _accepts_json(request):
        raise ServiceError("not_acceptable")
    parts = await _take(request, service, caller, study_uid)
    if not parts:
        raise ServiceError("malformed_store", "The body holds no instance.")
    status = store_status(parts)
    if status == 409 and any(isinstance(part.error, StoreFull) for part in parts):
        raise ServiceError("store_busy")
    _log(parts)
    return DicomJson(store_answer(parts), status)


def _accepts_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "*/*")
    return any(kind.split(";")[0].strip().lower() in _ACCEPTABLE for kind in accepted.split(","))


async def _take(request: Request, service: Service, caller: Caller, study_uid: str) -> list[TakenPart]:
    source = Source("stow", caller.site, caller.name, caller.address, only_study_uid=study_uid)
    parts = InstanceParts(lambda file: service.arrivals.receive_instance(file, source))
    try:
        body = RelatedBody(request.headers.get("content-type", ""), parts, service.settings.max_files)
        await read_body(request, service.settings.max_upload_bytes, body.write)
        body.finish()
        return await in_thread(request, parts.finish)
    except (NotRelatedError, OtherPartError) as error:
        raise ServiceError("not_multipart_related") from error
    except TooManyPartsError as error:
        raise ServiceError("too_many_files", "The body holds too many parts, or too many that are no DICOM.") from error
    except DamagedBodyError as error:
        raise ServiceError("malformed_store") from error
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(request, parts.close)


def _log(parts: list[TakenPart]) -> None:
    broken = [part.error for part in parts if not isinstance(part.error, InstanceRefused | StoreFull | None)]
    for kind, count in Counter(type(error).__name__ for error in broken).items():
        log.error("instances_not_taken", kind=kind, count=count)
    outcomes = [part.arrival.outcome for part in parts if part.arrival is not None]
    log.info(
        "instances_stowed", **{str(kind): outcomes.count(kind) for kind in Arrived}, refused=len(parts) - len(outcomes)
    )
