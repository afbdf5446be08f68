"""Views of the worklist that the caller keeps."""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field, StringConstraints

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.problems import AUTH_CODES, problems
from med3d_service.runs.saved_views import forget_view, keep_view, views_of
from med3d_service.runs.worklist import Shown
from med3d_service.storage.saved_view_tables import SavedViewRow
from med3d_service.trust.access import Viewer

router = APIRouter(tags=["runs"])
KEPT = {"name": "Refused this week", "shown": "refused", "sender": None, "days": 7, "superseded": False}
EXAMPLE: dict[str, Any] = {"view_id": examples.RUN_ID} | KEPT


class SavedViewRequest(Frozen):
    """Filters of the worklist under a name; what was searched for is not among them, as it may name a patient."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    shown: Annotated[Shown | None, Field(description="what became of the runs; null: whatever it was")] = None
    sender: Annotated[str | None, Field(max_length=100, description="the beginning of the sender's AE title")] = None
    days: Annotated[int | None, Field(ge=1, le=3650, description="of these last days, today among them")] = None
    superseded: Annotated[bool, Field(description="also runs that others stand for")] = False


class SavedView(SavedViewRequest):
    """A view that is kept."""

    view_id: str


class SavedViewList(Frozen):
    """All views of the caller, by name."""

    items: tuple[SavedView, ...]


@router.get(
    "/me/views",
    summary="List the views that you keep",
    responses=problems(*AUTH_CODES)
    | {200: {"description": "Yours", "content": {"application/json": {"example": {"items": [EXAMPLE]}}}}},
)
def list_saved_views(service: ServiceParts, caller: Viewer) -> SavedViewList:
    """List the views of this key or person; nobody else sees them."""
    with service.database.read() as session:
        return SavedViewList(items=tuple(_view(row) for row in views_of(session, caller)))


@router.post(
    "/me/views",
    status_code=201,
    summary="Keep a view of the worklist",
    responses=problems("too_many_views", *AUTH_CODES)
    | {201: {"description": "The view", "content": {"application/json": {"example": EXAMPLE}}}},
)
def save_view(wanted: SavedViewRequest, service: ServiceParts, caller: Viewer) -> SavedView:
    """Keep filters under a name; a view of that name is replaced."""
    with service.database.write() as session:
        row = keep_view(
            session,
            caller,
            wanted.name,
            shown=wanted.shown or "",
            sender=wanted.sender or "",
            days=wanted.days,
            superseded=wanted.superseded,
        )
        return _view(row)


@router.delete(
    "/me/views/{view_id}",
    status_code=204,
    summary="Forget a view",
    responses=problems("unknown_view", *AUTH_CODES),
)
def delete_view(view_id: str, service: ServiceParts, caller: Viewer) -> Response:
    """Forget one of your own views."""
    with service.database.write() as session:
        forget_view(session, caller, view_id)
    return Response(status_code=204)


def _view(row: SavedViewRow) -> SavedView:
    return SavedView(
        view_id=row.id,
        name=row.name,
        shown=Shown(row.shown) if row.shown else None,
        sender=row.sender or None,
        days=row.days,
        superseded=row.superseded,
    )
