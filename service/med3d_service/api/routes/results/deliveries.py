"""Deliveries: what went out, what waits, what is dead and why, and sending again."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from sqlalchemy import select

from med3d_contract.results import Frozen
from med3d_service.api.http.pages import Cursor, Limit, cut, newest_first
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.service import Service
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.outbox import Patience
from med3d_service.results.delivery.states import DeliveryStatus
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.lineage import ANSWERED
from med3d_service.runs.fences import find_run, is_seen_run
from med3d_service.runs.views import moment
from med3d_service.storage.tables import DeliveryRow, RunRow, StudyRow
from med3d_service.trust.access import Caller, Operator, Viewer

router = APIRouter(tags=["deliveries"])

EXAMPLE = {
    "delivery_id": "0f4b3f6e-2a55-5d0e-9a3f-3a7a6f0c2d11",
    "run_id": examples.RUN_ID,
    "kind": "sr",
    "destination": "dimse:pacs",
    "object_uid": "2.25.2722924073432480361047559184346568599.16204198715173621",
    "status": "dead",
    "tries": 1,
    "fault": "refused:0xA900",
    "created_at": "2026-01-05T09:00:04Z",
    "next_try_at": None,
    "ended_at": "2026-01-05T09:00:05Z",
}


class DeliveryView(Frozen):
    """One object of one run on its way to one destination. ``fault`` is that of the last try."""

    delivery_id: str
    run_id: str
    kind: Kind
    destination: str = Field(description="protocol and configured name")
    object_uid: str = Field(description="SOP Instance UID or event id: the same each time that it is sent")
    status: DeliveryStatus
    tries: int
    fault: str | None
    created_at: datetime
    next_try_at: datetime | None
    ended_at: datetime | None


class DeliveryPage(Frozen):
    """Deliveries, newest first."""

    items: tuple[DeliveryView, ...]
    next_cursor: str | None


class Planned(Frozen):
    """How many deliveries were added."""

    planned: int


@router.get(
    "/deliveries",
    summary="List deliveries, newest first",
    responses=problems("invalid_cursor", *AUTH_CODES)
    | {
        200: {
            "description": "A page of deliveries",
            "content": {"application/json": {"example": {"items": [EXAMPLE], "next_cursor": None}}},
        }
    },
)
def list_deliveries(
    service: ServiceParts,
    caller: Viewer,
    status: DeliveryStatus | None = None,
    run_id: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeliveryPage:
    """List the deliveries of this site, of one status or run, or all. ``status=dead`` waits for a person."""
    query = select(DeliveryRow).join(RunRow, RunRow.id == DeliveryRow.run_id).where(is_seen_run(caller))
    if status is not None:
        query = query.where(DeliveryRow.status == status)
    if run_id is not None:
        query = query.where(DeliveryRow.run_id == run_id)
    with service.database.read() as session:
        found = session.scalars(newest_first(query, DeliveryRow.seq, limit, cursor)).all()
    rows, next_cursor = cut(found, limit, lambda row: row.seq)
    return DeliveryPage(items=tuple(_view(row) for row in rows), next_cursor=next_cursor)


@router.post(
    "/deliveries/{delivery_id}/retry",
    status_code=202,
    summary="Send again",
    responses=problems("unknown_delivery", "identity_corrected", *AUTH_CODES)
    | {202: {"description": "It is due now", "content": {"application/json": {"example": EXAMPLE}}}},
)
def retry(delivery_id: str, service: ServiceParts, caller: Operator) -> DeliveryView:
    """Send a delivery again at once, a dead or a delivered one too; the receiver gets the same object."""
    with service.database.write() as session:
        own = session.scalars(
            select(DeliveryRow.seq)
            .join(RunRow, RunRow.id == DeliveryRow.run_id)
            .join(StudyRow, StudyRow.id == RunRow.study_id)
            .where(DeliveryRow.id == delivery_id, caller.sees(StudyRow.site))
        ).first()
        if own is None:
            raise ServiceError("unknown_delivery")
        return _view(outbox.retry(session, delivery_id, Patience.of(service.settings)))


@router.post(
    "/runs/{run_id}/deliveries",
    status_code=202,
    summary="Deliver a run",
    responses=problems("unknown_run", "not_answered", "identity_corrected", *AUTH_CODES)
    | {
        202: {
            "description": "How many deliveries were added; those that were there stay as they are",
            "content": {"application/json": {"example": {"planned": 2}}},
        }
    },
)
def deliver_run(run_id: str, request: Request, service: ServiceParts, caller: Operator) -> Planned:
    """Deliver an answered run to every configured destination, one of cohort priority too."""
    with service.database.write() as session:
        run = _run(service, caller, run_id)
        if run.status not in ANSWERED:
            raise ServiceError("not_answered")
        added = outbox.plan_run(session, run, request.app.state.destinations, Patience.of(service.settings))
    return Planned(planned=added)


def _run(service: Service, caller: Caller, run_id: str) -> RunRow:
    with service.database.read() as session:
        return find_run(session, caller, run_id)


def _view(row: DeliveryRow) -> DeliveryView:
    waits = row.status in {DeliveryStatus.WAITING, DeliveryStatus.STORED}
    return DeliveryView(
        delivery_id=row.id,
        run_id=row.run_id,
        kind=Kind(row.kind),
        destination=row.destination,
        object_uid=row.object_uid,
        status=DeliveryStatus(row.status),
        tries=row.tries,
        fault=row.fault,
        created_at=moment(row.created_at),
        next_try_at=moment(row.next_try_at) if waits else None,
        ended_at=None if row.ended_at is None else moment(row.ended_at),
    )
