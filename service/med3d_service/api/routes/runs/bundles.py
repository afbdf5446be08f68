"""Bundles that studies can be run by: listed, made the default, retired."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from sqlalchemy import select

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.service import Service
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs.bundles import find_bundle, make_default, retire_bundle, retired_bundles
from med3d_service.runs.queueing.stranded import carried_bundles
from med3d_service.runs.views import moment
from med3d_service.storage.tables import BundleRow
from med3d_service.trust.access import Admin, Caller, Viewer
from med3d_service.trust.access.administering import require_every_site
from med3d_service.trust.audit.requests import note_handled
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(tags=["bundles"])
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="the bundle's digest")]


class BundleView(Frozen):
    """A model bundle. ``default``: used where a sender asks for none; ``retired_at``: no run is started with it."""

    name: str
    version: str
    digest: str
    default: bool
    first_seen_at: datetime
    retired_at: datetime | None = None


class BundleList(Frozen):
    """All bundles, the newest first."""

    items: tuple[BundleView, ...]


EXAMPLE = examples.BUNDLE | {"default": True, "first_seen_at": "2026-01-05T08:00:00Z", "retired_at": None}


@router.get(
    "/bundles",
    dependencies=[Unaudited],
    summary="List model bundles",
    responses=problems(*AUTH_CODES)
    | {200: {"description": "All bundles", "content": {"application/json": {"example": {"items": [EXAMPLE]}}}}},
)
def list_bundles(service: ServiceParts, _caller: Viewer) -> BundleList:
    """List the bundles that are listed in the settings or that workers carry."""
    with service.database.read() as session:
        rows = session.scalars(select(BundleRow).order_by(BundleRow.first_seen_at.desc()))
        retired = retired_bundles(session)
        return BundleList(items=tuple(_view(row, retired) for row in rows))


@router.post(
    "/bundles/{bundle_digest}/activate",
    summary="Make a model the default",
    responses=problems("unknown_bundle", "bundle_not_carried", "default_bundle_set", "bundle_forged", *AUTH_CODES)
    | {200: {"description": "It is the default from now on", "content": {"application/json": {"example": EXAMPLE}}}},
)
def activate(bundle_digest: Digest, request: Request, service: ServiceParts, caller: Admin) -> BundleView:
    """Let new runs of all sites use it where none is asked for. A retired one is used again. Answers stay."""
    _require_may_choose(service, caller)
    note_handled(request, "bundle", [bundle_digest])
    with service.database.write() as session:
        bundle = find_bundle(session, bundle_digest)
        if bundle.digest not in carried_bundles(session, service.settings.worker_silent_s):
            raise ServiceError("bundle_not_carried")
        make_default(session, bundle)
    return _shown(service, bundle_digest)


@router.post(
    "/bundles/{bundle_digest}/retire",
    summary="Retire a model",
    responses=problems("unknown_bundle", "bundle_in_use", "bundle_forged", *AUTH_CODES)
    | {200: {"description": "No run is started with it", "content": {"application/json": {"example": EXAMPLE}}}},
)
def retire(bundle_digest: Digest, request: Request, service: ServiceParts, caller: Admin) -> BundleView:
    """Start no run with it any more, at no site; what waits or was answered stays. Activating takes it back."""
    require_every_site(caller)
    note_handled(request, "bundle", [bundle_digest])
    with service.database.write() as session:
        retire_bundle(session, find_bundle(session, bundle_digest))
    return _shown(service, bundle_digest)


def _require_may_choose(service: Service, caller: Caller) -> None:
    require_every_site(caller)
    if service.settings.default_bundle is not None:
        raise ServiceError("default_bundle_set")


def _shown(service: Service, digest: str) -> BundleView:
    with service.database.read() as session:
        return _view(session.get_one(BundleRow, digest), retired_bundles(session))


def _view(row: BundleRow, retired: Mapping[str, float]) -> BundleView:
    retired_at = retired.get(row.digest)
    return BundleView(
        name=row.name,
        version=row.version,
        digest=row.digest,
        default=row.is_default,
        first_seen_at=moment(row.first_seen_at),
        retired_at=None if retired_at is None else moment(retired_at),
    )
