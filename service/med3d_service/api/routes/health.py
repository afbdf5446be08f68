"""Whether the service lives, whether it is ready, and its metrics."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from med3d_contract.results import Frozen
from med3d_service.api.metrics import Metrics
from med3d_service.api.readiness import Probe, Readiness
from med3d_service.problems import AUTH_CODES, problems
from med3d_service.trust.access import Scraper
from med3d_service.trust.audit.routes import Unaudited


class Alive(Frozen):
    """The process answers."""

    status: str


def health_router(metrics: Metrics) -> APIRouter:
    """Make the routes; ``metrics`` is what GET /metrics shows."""
    router = APIRouter(tags=["health"], dependencies=[Unaudited])

    @router.head("/healthz", include_in_schema=False)  # monitors ask so: as GET, without the body
    @router.get("/healthz", summary="Is the process alive", responses=problems())
    def healthz() -> Alive:
        """Answer, needing nothing else."""
        return Alive(status="alive")

    @router.head("/readyz", include_in_schema=False)
    @router.get(
        "/readyz",
        summary="Is the service ready",
        responses=problems() | {503: {"model": Readiness, "description": "Something is missing; see which"}},
    )
    def readyz(request: Request, response: Response) -> Readiness:
        """Say what was seen of database, broker, store and workers, each named, some seconds ago at most."""
        probe: Probe = request.app.state.probe
        readiness = probe.readiness()
        response.status_code = 200 if readiness.ready else 503
        return readiness

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses=problems(*AUTH_CODES)
        | {200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def show_metrics(_caller: Scraper) -> Response:
        """Show counts and durations; no label holds an id."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
