"""Runs: listing, reading, following."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

import structlog
from anyio import to_thread
from fastapi import APIRouter, BackgroundTasks, Header, Query, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from sse_starlette import EventSourceResponse, ServerSentEvent

from med3d_contract.results import Frozen, RunStatus, RunView, Verdict, VerdictRequest, VerdictView
from med3d_service.api.http.pages import Cursor, Limit, cut, newest_first
from med3d_service.api.routes import ServiceParts, examples, goes_on
from med3d_service.api.service import Service
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.outbox import Patience
from med3d_service.runs.fences import is_seen_run
from med3d_service.runs.queueing.dispatch import send_waiting
from med3d_service.runs.starting import requeue
from med3d_service.runs.verdicts import give_verdict, standing_verdicts, verdicts_on
from med3d_service.runs.views import moment, run_view
from med3d_service.storage.tables import BundleRow, RunEventRow, RunRow, StudyRow
from med3d_service.trust.access import Caller, Operator, Submitter, Viewer
from med3d_service.trust.audit.requests import note_shown
from med3d_service.trust.audit.routes import RecordsItself

log = structlog.get_logger()
router = APIRouter(tags=["runs"])
POLL_S = 0.25
PING_S = 10


class RunPage(Frozen):
    """Runs, newest first."""

    items: tuple[RunView, ...]
    next_cursor: str | None


class VerdictList(Frozen):
    """What people made of one run, the newest first."""

    items: tuple[VerdictView, ...]


@router.get(
    "/runs",
    summary="List runs, newest first",
    responses=problems("invalid_cursor", *AUTH_CODES)
    | {
        200: {
            "description": "A page of runs",
            "content": {"application/json": {"example": {"items": [examples.RUN], "next_cursor": None}}},
        }
    },
)
def list_runs(
    request: Request,
    service: ServiceParts,
    caller: Viewer,
    status: RunStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    id_begins: Annotated[
        str | None, Query(pattern="^[0-9a-f-]{4,36}$", description="the first signs of the runs' ids")
    ] = None,
) -> RunPage:
    """List the runs that this key may see, of one status or of all."""
    with_bundle = select(RunRow, BundleRow).join(BundleRow, BundleRow.digest == RunRow.bundle_digest)
    query = with_bundle.where(is_seen_run(caller))
    if status is not None:
        query = query.where(RunRow.status == status)
    if id_begins is not None:  # a range, which the key's index answers; `g` comes after every sign of an id
        query = query.where(RunRow.id >= id_begins, RunRow.id < f"{id_begins}g")
    with service.database.read() as session:
        found = session.execute(newest_first(query, RunRow.seq, limit, cursor)).all()
        rows, next_cursor = cut(found, limit, lambda row: row[0].seq)
        standing = standing_verdicts(session, service.vault, [run.id for run, _ in rows])
    items = tuple(run_view(run, bundle, standing.get(run.id)) for run, bundle in rows)
    note_shown(request, "run", [item.run_id for item in items])
    return RunPage(items=items, next_cursor=next_cursor)


@router.get(
    "/runs/{run_id}",
    summary="Read a run",
    responses=problems("unknown_run", *AUTH_CODES)
    | {200: {"description": "The run", "content": {"application/json": {"example": examples.RUN}}}},
)
def read_run(run_id: str, service: ServiceParts, caller: Viewer) -> RunView:
    """Read one run: where it stands, and its answer once it has one."""
    return _view(service, caller, run_id)


def _view(service: Service, caller: Caller, run_id: str) -> RunView:
    with service.database.read() as session:
        run, bundle = _found(session, caller, run_id)
        return run_view(run, bundle, standing_verdicts(session, service.vault, [run_id]).get(run_id))


def _found(session: Session, caller: Caller, run_id: str) -> tuple[RunRow, BundleRow]:
    found = session.execute(
        select(RunRow, BundleRow)
        .join(BundleRow, BundleRow.digest == RunRow.bundle_digest)
        .join(StudyRow, StudyRow.id == RunRow.study_id)
        .where(RunRow.id == run_id, caller.sees(StudyRow.site))
    ).first()
    if found is None:
        raise ServiceError("unknown_run")
    run, bundle = found
    return run, bundle


@router.post(
    "/runs/{run_id}/requeue",
    status_code=202,
    summary="Do a failed run again",
    responses=problems("unknown_run", "not_requeueable", *AUTH_CODES)
    | {202: {"description": "The new run", "content": {"application/json": {"example": examples.RUN}}}},
)
def requeue_run(run_id: str, service: ServiceParts, caller: Operator, background: BackgroundTasks) -> RunView:
    """Start a new run in place of one that failed or was cancelled; the old one stays, linked."""
    with service.database.write() as session:
        run, bundle = _found(session, caller, run_id)
        again = requeue(session, run)
        view = run_view(again, bundle)
    log.info("run_requeued", run_id=run_id, by_run_id=again.id)
    background.add_task(_send, service, again.id)
    return view


def _send(service: Service, run_id: str) -> None:
    send_waiting(service.database, service.broker, redispatch_s=service.settings.redispatch_s, run_ids=[run_id])


@router.post(
    "/runs/{run_id}/verdicts",
    status_code=201,
    dependencies=[RecordsItself],
    summary="Say what a person makes of an answer",
    responses=problems("unknown_run", "not_answered", "verdict_without_why", *AUTH_CODES)
    | {201: {"description": "The verdict", "content": {"application/json": {"example": examples.VERDICT}}}},
)
def add_verdict(run_id: str, given: VerdictRequest, service: ServiceParts, caller: Submitter) -> VerdictView:
    """Accept an answer, reject it, ask for another scan, or comment. What was said before stays; the latest stands."""
    with service.database.write() as session:
        run, _ = _found(session, caller, run_id)
        view = give_verdict(session, service.vault, service.audit, caller, run, given)
        if given.verdict is not Verdict.COMMENT:
            outbox.say_anew(session, run, Patience.of(service.settings))
        return view


@router.get(
    "/runs/{run_id}/verdicts",
    summary="Read what people made of an answer",
    responses=problems("unknown_run", *AUTH_CODES)
    | {
        200: {
            "description": "All verdicts, the newest first",
            "content": {"application/json": {"example": {"items": [examples.VERDICT]}}},
        }
    },
)
def list_verdicts(run_id: str, service: ServiceParts, caller: Viewer) -> VerdictList:
    """List the verdicts on a run, and the comments among them."""
    with service.database.read() as session:
        _found(session, caller, run_id)
        return VerdictList(items=tuple(verdicts_on(session, service.vault, run_id)))


@router.get(
    "/runs/{run_id}/events",
    summary="Follow a run",
    response_class=EventSourceResponse,
    responses=problems("unknown_run", *AUTH_CODES)
    | {
        200: {
            "description": "Server-sent events from the first one, or from Last-Event-ID; ends with the run",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": examples.EVENTS}},
        }
    },
)
async def follow_run(
    run_id: str,
    request: Request,
    service: ServiceParts,
    caller: Viewer,
    last_event_id: Annotated[int, Header(ge=0, le=2**53, description="id of the last event that was seen")] = 0,
) -> EventSourceResponse:
    """Stream what happens to a run (event ``run``) until it has ended."""
    await to_thread.run_sync(_view, service, caller, run_id)
    return EventSourceResponse(_events(request, service, run_id, last_event_id), ping=PING_S)


async def _events(request: Request, service: Service, run_id: str, seen: int) -> AsyncIterator[ServerSentEvent]:
    while await goes_on(request):
        events, over = await to_thread.run_sync(_events_after, service, run_id, seen)
        for event in events:
            seen = event.seq
            yield sent_event(event)
        if over:
            return
        await asyncio.sleep(POLL_S)


def _events_after(service: Service, run_id: str, seen: int) -> tuple[list[RunEventRow], bool]:
    with service.database.read() as session:
        status = session.execute(select(RunRow.status).where(RunRow.id == run_id)).scalar_one()
        query = select(RunEventRow).where(RunEventRow.run_id == run_id, RunEventRow.seq > seen)
        return list(session.scalars(query.order_by(RunEventRow.seq))), RunStatus(status).is_terminal


def sent_event(event: RunEventRow) -> ServerSentEvent:
    """Write an event of a run as a stream sends it."""
    data = {
        "run_id": event.run_id,
        "status": event.status,
        "stage": event.stage,
        "attempt": event.attempt,
        "code": event.code,
        "at": moment(event.at).isoformat(),
    }
    return ServerSentEvent(data=json.dumps(data), event="run", id=str(event.seq))
