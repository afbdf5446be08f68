"""The volumes that a viewer shows of a run's head: made by a worker when they are first asked for, then kept."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import JSONResponse

from med3d_contract.volumes import StoredVolumes, VolumeName, volume_key
from med3d_contract.work import VolumesRequest
from med3d_service.api.http.ranges import wanted_range
from med3d_service.api.routes import ServiceParts
from med3d_service.api.service import Service
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.results.volumes import ask_for_volumes, read_volumes, require_viewable, volumes_request
from med3d_service.runs.fences import require_own_run
from med3d_service.storage.tables import RunRow
from med3d_service.trust.access import Caller, Clinical, Worker

router = APIRouter(tags=["reports"])
ASK_AGAIN_S = 1
GZIPPED_NIFTI = {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}
IN_WORK = {"description": "A worker makes it: ask again after Retry-After seconds"}


@router.get(
    "/runs/{run_id}/volumes",
    summary="What a viewer can show of a run's head",
    response_model=StoredVolumes,
    responses=problems("unknown_run", "no_volumes", *AUTH_CODES) | {202: IN_WORK},
)
def list_volumes(run_id: str, service: ServiceParts, caller: Clinical) -> StoredVolumes | Response:
    """List the volumes: the head, the brain that was found in it, what ageing changes. The first reading makes them."""
    found = _found(service, caller, run_id)
    return _in_work() if found is None else found


@router.get(
    "/runs/{run_id}/volumes/{volume}",
    summary="A volume of a run's head",
    response_class=Response,
    responses=problems("unknown_run", "no_volumes", "range_not_there", *AUTH_CODES)
    | {
        200: {"description": "Gzipped NIfTI, in the scanner's RAS+ mm; ranges are served", "content": GZIPPED_NIFTI},
        206: {"description": "The range that was asked for", "content": GZIPPED_NIFTI},
        202: IN_WORK,
    },
)
def read_volume(
    run_id: str,
    volume: VolumeName,
    service: ServiceParts,
    caller: Clinical,
    range_: Annotated[str | None, Header(alias="Range", max_length=200)] = None,
    if_range: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Read a volume, or a part of it: the head as it was analysed, de-identified.

    It has its face, unless the service is set to take it away.
    """
    found = _found(service, caller, run_id)
    if found is None:
        return _in_work()
    stored = found.find(volume)
    if stored is None:
        raise ServiceError("no_volumes")
    etag, key = f'"{stored.sha256[:32]}"', volume_key(run_id, volume)
    headers = {"Cache-Control": "private, no-store", "Accept-Ranges": "bytes", "ETag": etag}
    wanted = wanted_range(range_, if_range, etag, stored.size_bytes)
    if wanted is None:
        return Response(service.store.get(key, stored.sha256), media_type="application/gzip", headers=headers)
    part = service.store.read_part(key, wanted.start, wanted.end)
    headers["Content-Range"] = wanted.described(stored.size_bytes)
    return Response(part, 206, media_type="application/gzip", headers=headers)


@router.get(
    "/worker/runs/{run_id}/volumes",
    tags=["worker"],
    summary="A run whose head shall be shown",
    responses=problems("unknown_run", "not_claimable", *AUTH_CODES),
)
def asked_volumes(run_id: str, service: ServiceParts, caller: Worker) -> VolumesRequest:
    """Say where the working copy lies, which series was analysed, and where its tensor lies."""
    with service.database.read() as session:
        require_own_run(session, caller, run_id)
        run = session.query(RunRow).filter(RunRow.id == run_id).one_or_none()
        if run is None:
            raise ServiceError("unknown_run")
        wanted = volumes_request(session, run)
        if wanted is None:
            raise ServiceError("not_claimable")
        return wanted


def _found(service: Service, caller: Caller, run_id: str) -> StoredVolumes | None:
    require_viewable(service.database, caller, run_id)
    found = read_volumes(service.store, run_id, deface=service.settings.deface)
    if found is None:
        ask_for_volumes(service.broker, run_id)
    return found


def _in_work() -> Response:
    return JSONResponse({"status": "in_work"}, 202, headers={"Retry-After": str(ASK_AGAIN_S)})
