"""How far a cohort is: to be read, and to be followed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from med3d_contract.cohorts import CohortProgress, ReprocessingStatus
from med3d_service.api.routes import ServiceParts, examples, goes_on
from med3d_service.api.routes.cohorts.cohorts import CohortId
from med3d_service.api.service import Service
from med3d_service.cohorts.members import find_cohort
from med3d_service.cohorts.progress import cohort_progress
from med3d_service.problems import AUTH_CODES, problems
from med3d_service.trust.access import Caller, Viewer

router = APIRouter(tags=["cohorts"])
LOOK_EVERY_S = 1.0
PING_S = 10
UNDER_WAY = (ReprocessingStatus.RUNNING, ReprocessingStatus.WAITING, ReprocessingStatus.PAUSED)
BundleQuery = Annotated[str | None, Query(max_length=300, description="else the one under way, or last")]


@router.get(
    "/cohorts/{cohort}/progress",
    summary="How far a cohort is",
    responses=problems("unknown_cohort", "unknown_bundle", "no_bundle", "bundle_forged", *AUTH_CODES)
    | {
        200: {"description": "Counts, rate, time left", "content": {"application/json": {"example": examples.PROGRESS}}}
    },
)
def read_progress(
    cohort: CohortId, service: ServiceParts, caller: Viewer, bundle: BundleQuery = None
) -> CohortProgress:
    """Count the members by state, with rate, time left, the slowest stage, and what went wrong by code."""
    return _progress(service, caller, cohort, bundle)


@router.get(
    "/cohorts/{cohort}/events",
    summary="Follow a cohort",
    response_class=EventSourceResponse,
    responses=problems("unknown_cohort", "unknown_bundle", "no_bundle", "bundle_forged", *AUTH_CODES)
    | {
        200: {
            "description": "Server-sent events: the progress each time that it has changed, until it is over",
            "content": {
                "text/event-stream": {"schema": {"type": "string"}, "example": "event: progress\ndata: {}\n\n"}
            },
        }
    },
)
async def follow_progress(
    cohort: CohortId, request: Request, service: ServiceParts, caller: Viewer, bundle: BundleQuery = None
) -> EventSourceResponse:
    """Stream the progress (event ``progress``) until the cohort has been worked through."""
    first = await to_thread.run_sync(_progress, service, caller, cohort, bundle)
    return EventSourceResponse(_events(request, service, caller, cohort, first), ping=PING_S)


async def _events(
    request: Request, service: Service, caller: Caller, cohort: str, progress: CohortProgress
) -> AsyncIterator[ServerSentEvent]:
    sent = None
    while await goes_on(request):
        if progress != sent:
            yield ServerSentEvent(data=progress.model_dump_json(), event="progress")
            sent = progress
        if progress.status not in UNDER_WAY:
            return
        await asyncio.sleep(LOOK_EVERY_S)
        progress = await to_thread.run_sync(_progress, service, caller, cohort, progress.bundle.digest)


def _progress(service: Service, caller: Caller, cohort: str, bundle: str | None) -> CohortProgress:
    with service.database.read() as session:
        found = find_cohort(session, caller, cohort)
        return cohort_progress(session, found, bundle, service.settings.worker_silent_s)
