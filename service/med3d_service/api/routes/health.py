"""Whether the service lives, whether it is ready, and its metrics."""

from collections.abc import Callable

import structlog
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import func, select

from med3d_contract.results import Frozen
from med3d_service.api.metrics import Metrics
from med3d_service.api.routes import ServiceParts
from med3d_service.api.service import Service
from med3d_service.problems import AUTH_CODES, problems
from med3d_service.runs.stranded import carried_bundles
from med3d_service.storage.database import db_now
from med3d_service.storage.tables import BundleRow, WorkerRow
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.routes import Unaudited

log = structlog.get_logger()


class Alive(Frozen):
    """The process answers."""

    status: str


class Check(Frozen):
    """One thing that must be there; ``why`` says what is wrong."""

    ok: bool
    why: str | None


class Readiness(Frozen):
    """Whether a study sent now would be worked on."""

    ready: bool
    database: Check
    broker: Check
    store: Check
    worker: Check


OK = Check(ok=True, why=None)


def health_router(metrics: Metrics) -> APIRouter:
    """Make the routes; ``metrics`` is what GET /metrics shows."""
    router = APIRouter(tags=["health"], dependencies=[Unaudited])

    @router.get("/healthz", summary="Is the process alive", responses=problems())
    def healthz() -> Alive:
        """Answer, needing nothing else."""
        return Alive(status="alive")

    @router.get(
        "/readyz",
        summary="Is the service ready",
        responses=problems() | {503: {"model": Readiness, "description": "Something is missing; see which"}},
    )
    def readyz(service: ServiceParts, response: Response) -> Readiness:
        """Look at database, broker, store and workers, each named."""
        database = _checked("database", service.database.now, "the database does not answer")
        readiness = Readiness(
            database=database,
            broker=_checked("broker", service.broker.check, "the broker does not answer"),
            store=_checked("store", service.store.check, "the store takes and gives no objects"),
            worker=_worker(service) if database.ok else Check(ok=False, why="unknown without the database"),
            ready=False,
        )
        ready = all((readiness.database.ok, readiness.broker.ok, readiness.store.ok, readiness.worker.ok))
        response.status_code = 200 if ready else 503
        return readiness.model_copy(update={"ready": ready})

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses=problems(*AUTH_CODES)
        | {200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def show_metrics(_caller: Viewer) -> Response:
        """Show counts and durations; no label holds an id."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _checked(name: str, look: Callable[[], object], why: str) -> Check:
    try:
        look()
    except Exception as error:  # noqa: BLE001 - the edge: whatever is wrong, the answer is that it is
        log.warning("not_ready", part=name, kind=type(error).__name__)
        return Check(ok=False, why=f"{why} ({type(error).__name__})")
    return OK


def _worker(service: Service) -> Check:
    with service.database.read() as session:
        carried = carried_bundles(session, service.settings.worker_silent_s)
        default = session.scalars(select(BundleRow).where(BundleRow.is_default)).first()
        newest = session.execute(select(func.max(WorkerRow.seen_at))).scalar_one()
        now = session.execute(select(db_now())).scalar_one()
    if newest is None:
        return Check(ok=False, why="no worker has said hello yet")
    silent_s = now - newest
    if silent_s > service.settings.worker_silent_s:
        return Check(ok=False, why=f"no worker has been heard of for {silent_s:.0f} s")
    if default is not None and default.digest not in carried:
        named = f"{default.name} {default.version} ({default.digest[:12]})"
        return Check(ok=False, why=f"no live worker carries the default bundle, {named}")
    return OK
