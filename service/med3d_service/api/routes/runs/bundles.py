"""Bundles that studies can be run by."""

from datetime import datetime

from fastapi import APIRouter
from sqlalchemy import select

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.problems import AUTH_CODES, problems
from med3d_service.runs.views import moment
from med3d_service.storage.tables import BundleRow
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(tags=["bundles"], dependencies=[Unaudited])


class BundleView(Frozen):
    """A model bundle. ``default``: used where a sender asks for none."""

    name: str
    version: str
    digest: str
    default: bool
    first_seen_at: datetime


class BundleList(Frozen):
    """All bundles, the newest first."""

    items: tuple[BundleView, ...]


EXAMPLE = {"items": [examples.BUNDLE | {"default": True, "first_seen_at": "2026-01-05T08:00:00Z"}]}


@router.get(
    "/bundles",
    summary="List model bundles",
    responses=problems(*AUTH_CODES)
    | {200: {"description": "All bundles", "content": {"application/json": {"example": EXAMPLE}}}},
)
def list_bundles(service: ServiceParts, _caller: Viewer) -> BundleList:
    """List the bundles that are listed in the settings or that workers carry."""
    with service.database.read() as session:
        rows = list(session.scalars(select(BundleRow).order_by(BundleRow.first_seen_at.desc())))
    return BundleList(
        items=tuple(
            BundleView(
                name=row.name,
                version=row.version,
                digest=row.digest,
                default=row.is_default,
                first_seen_at=moment(row.first_seen_at),
            )
            for row in rows
        )
    )
