"""What happens to all runs that one may see, as it happens: one stream for a page, whatever it shows."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from med3d_service.api.routes import ServiceParts, goes_on
from med3d_service.api.routes.runs.runs import PING_S, sent_event
from med3d_service.api.service import Service
from med3d_service.runs.following import events_after, newest_event
from med3d_service.storage.tables import RunEventRow
from med3d_service.trust.access import Caller, Viewer

router = APIRouter(tags=["runs"])
LOOK_EVERY_S = 1.0


@router.get("/events", include_in_schema=False)  # it has no end of its own, and is for our pages
async def follow_runs(
    request: Request,
    service: ServiceParts,
    caller: Viewer,
    last_event_id: Annotated[int | None, Header(ge=0, le=2**53, description="id of the last event seen")] = None,
) -> EventSourceResponse:
    """Stream what happens to the runs that this key may see; who comes back names the last event that was seen."""
    seen = await to_thread.run_sync(_newest, service) if last_event_id is None else last_event_id
    return EventSourceResponse(follow(request, service, caller, seen), ping=PING_S)


async def follow(request: Request, service: Service, caller: Caller, seen: int) -> AsyncIterator[ServerSentEvent]:
    """Send what comes after event ``seen``. The first word says where the stream stands, for who comes back."""
    yield ServerSentEvent(data="", event="from", id=str(seen))
    while await goes_on(request):
        events, seen = await to_thread.run_sync(_after, service, caller, seen)
        for event in events:
            yield sent_event(event)
        await asyncio.sleep(LOOK_EVERY_S)


def _newest(service: Service) -> int:
    with service.database.read() as session:
        return newest_event(session)


def _after(service: Service, caller: Caller, seen: int) -> tuple[list[RunEventRow], int]:
    with service.database.read() as session:
        return events_after(session, caller, seen)
