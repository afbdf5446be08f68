"""What came in or was announced, from whom, and what became of it: an administrator's view. No patient is named."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select, tuple_

from med3d_contract.arrivals import ArrivalPage
from med3d_service.api.http.pages import Limit
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.network.pulls import arriving
from med3d_service.network.pulls.tables import PullRow
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.trust.access import Viewer

router = APIRouter(tags=["arrivals"])
ArrivalCursor = Annotated[str | None, Query(max_length=64, description="next_cursor of the page before")]


@router.get(
    "/arrivals",
    summary="List what arrives",
    responses=problems("invalid_cursor", *AUTH_CODES)
    | {
        200: {
            "description": "Studies, the one that came last first",
            "content": {"application/json": {"example": examples.ARRIVALS}},
        }
    },
)
def list_arrivals(
    service: ServiceParts, caller: Viewer, limit: Limit = 50, cursor: ArrivalCursor = None
) -> ArrivalPage:
    """List the studies that come by themselves, what pulls are still to get, and callers who were turned away.

    The last two stand on the first page alone.
    """
    query = select(ArrivalRow).where(caller.sees(ArrivalRow.site))
    if cursor is not None:
        query = query.where(tuple_(ArrivalRow.last_at, ArrivalRow.id) < tuple_(*_place(cursor)))
    with service.database.read() as session:
        found = session.scalars(query.order_by(ArrivalRow.last_at.desc(), ArrivalRow.id.desc()).limit(limit + 1)).all()
        rows = found[:limit]
        return ArrivalPage(
            items=arriving.reports(session, rows, service.settings.quiet_s),
            announced=() if cursor else arriving.announced(session, caller.sees(PullRow.site)),
            turned_away=() if cursor else arriving.turned_away(session, limit),
            next_cursor=f"{rows[-1].last_at.hex()}~{rows[-1].id}" if len(found) > limit else None,
        )


def _place(cursor: str) -> tuple[float, str]:
    last_at, _, arrival_id = cursor.partition("~")
    try:
        return float.fromhex(last_at), arrival_id
    except (ValueError, OverflowError) as error:
        raise ServiceError("invalid_cursor") from error
