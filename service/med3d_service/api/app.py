"""The results API, put together."""

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session
from starlette.types import ASGIApp

from med3d_service.api.door import Door, describe_bodies
from med3d_service.api.http.conditional import describe_not_modified, with_etags
from med3d_service.api.http.headers import with_security_headers
from med3d_service.api.idempotency import Repetitions, describe_idempotency
from med3d_service.api.metrics import Metrics
from med3d_service.api.readiness import Probe, look_at
from med3d_service.api.routes.cohorts import (
    cohort_answers,
    cohort_progress,
    cohort_reports,
    cohorts,
    reprocessing,
    subjects,
)
from med3d_service.api.routes.health import health_router
from med3d_service.api.routes.network import arrivals, hooks, peers, pulls
from med3d_service.api.routes.results import deliveries, explanations, patients, pictures, reports, volumes
from med3d_service.api.routes.runs import bundles, calibrations, events, run_changes, runs, saved_views, workers
from med3d_service.api.routes.studies import completion, dicomweb, erasure, studies
from med3d_service.api.routes.trust import administration, identity
from med3d_service.api.service import Service
from med3d_service.network.peers.checked import PeerChecks
from med3d_service.problem_answers import render_problems, with_unexpected_errors
from med3d_service.problems import AUTH_CODES, Problem, ServiceError, problems
from med3d_service.results.delivery.destinations import load_destinations
from med3d_service.runs.bundles import find_bundle, make_default, read_bundle_dir, register_bundles
from med3d_service.runs.transitions import grant_grace
from med3d_service.storage.database import db_now
from med3d_service.storage.tables import BeatRow
from med3d_service.trust.access import Viewer
from med3d_service.trust.access.callers import Gate
from med3d_service.trust.audit.life import audited_life
from med3d_service.trust.audit.requests import RequestAudit
from med3d_service.trust.audit.routes import Unaudited
from med3d_service.trust.establishing import require_counter

log = structlog.get_logger()

DESCRIPTION = """Brain age and estimated SDMT of T1-weighted head MRI, with intervals and reasons.

Research software, not a medical device. Every error is `application/problem+json` (RFC 9457) with a stable `code` and a
`remedy`. Send `Authorization: Bearer KEY` everywhere but on /healthz and /readyz."""


@dataclass(frozen=True)
class Front:
    """What is served beside the API by the same process, behind the same door: its routes, and what wraps all answers.

    Its routes say ``include_in_schema=False``.
    """

    routers: tuple[APIRouter, ...]
    watch: Callable[[ASGIApp], ASGIApp]


def build_app(service: Service, front: Front | None = None) -> FastAPI:
    """Put routes and what stands around them on the parts of the service."""
    settings = service.settings
    app = FastAPI(
        title="InfoVAE-Med3D",
        version=version("infovae-med3d"),
        description=DESCRIPTION,
        openapi_url=None,  # served below, to those who hold a key
        lifespan=_lifespan,
    )
    app.state.service = service
    app.state.gate = gate = Gate(service.database, settings)
    app.state.probe = Probe(lambda: look_at(app.state.service), settings.ready_fresh_s)
    app.state.destinations = load_destinations(settings)
    app.state.peer_checks = PeerChecks(service.peers)
    app.state.upload_limiter = CapacityLimiter(studies.PARALLEL_UPLOADS)
    metrics = Metrics(service.database, settings.worker_silent_s, settings.scale_target_s)
    routers = (*_routers(metrics), *(() if front is None else front.routers))
    app.add_middleware(with_etags)
    app.add_middleware(Repetitions(service.database, settings.max_upload_bytes).watch)
    app.add_middleware(Door(settings, lambda: _routes_of(app, routers)).watch)
    app.add_middleware(gate.throttle.watch)
    app.add_middleware(RequestAudit(service.audit).watch)
    app.add_middleware(metrics.watch)
    app.add_middleware(with_unexpected_errors)
    if front is not None:
        app.add_middleware(front.watch)
    app.add_middleware(with_security_headers)
    render_problems(app)
    for router in routers:
        app.include_router(router)
    _describe(app)
    return app


def _routers(metrics: Metrics) -> tuple[APIRouter, ...]:
    return (
        studies.router,
        patients.router,
        erasure.router,
        subjects.router,
        dicomweb.router,
        completion.router,
        arrivals.router,
        pulls.router,
        peers.router,
        hooks.router,
        events.router,
        run_changes.router,
        runs.router,
        saved_views.router,
        identity.router,
        cohorts.router,
        reprocessing.router,
        cohort_progress.router,
        cohort_answers.router,
        cohort_reports.router,
        reports.router,
        pictures.router,
        explanations.router,
        volumes.router,
        deliveries.router,
        bundles.router,
        calibrations.router,
        administration.router,
        workers.router,
        health_router(metrics),
    )


def _routes_of(app: FastAPI, routers: Sequence[APIRouter]) -> list[APIRoute]:
    """Return all routes, in the order in which they are tried."""
    found = [route for router in routers for route in router.routes]
    return [route for route in (*found, *app.router.routes) if isinstance(route, APIRoute)]


def _describe(app: FastAPI) -> None:
    """Serve the OpenAPI document, with Problem among its schemas."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        describe_not_modified(document)
        describe_idempotency(document)
        describe_bodies(document)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("Problem", Problem.model_json_schema(ref_template="#/components/schemas/{model}"))
        return document

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get(
        "/openapi.json",
        tags=["health"],
        dependencies=[Unaudited],
        summary="This description",
        response_class=JSONResponse,
        responses=problems(*AUTH_CODES),
    )
    def document(_request: Request, _caller: Viewer) -> JSONResponse:
        """Describe the API in OpenAPI 3.1."""
        return JSONResponse(app.openapi())


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    stopped = threading.Event()
    await to_thread.run_sync(_start, service)
    life = audited_life(service.audit, "api")
    await to_thread.run_sync(life.__enter__)
    beating = threading.Thread(target=_beat, args=(service, stopped), name="beat", daemon=True)
    beating.start()
    log.info("api_started")
    yield
    stopped.set()
    await to_thread.run_sync(beating.join)
    await to_thread.run_sync(life.__exit__, None, None, None)
    service.close()
    log.info("api_stopped")


def _start(service: Service) -> None:
    """Register the bundles of the settings, and give leases the time that workers could not renew them."""
    if service.database.guard is not None:
        require_counter(service.database, service.database.guard, service.audit)
    with service.database.write() as session:
        register_bundles(session, [read_bundle_dir(path) for path in service.settings.bundle_dirs])
        if service.settings.default_bundle is not None:
            _choose_default(session, service.settings.default_bundle)
        grant_grace(session, service.leases)
        session.merge(BeatRow(process="api", beat_at=db_now()))


def _choose_default(session: Session, wanted: str) -> None:
    """Make ``wanted`` the default. One whose row was forged is left until a worker says hello and names it."""
    try:
        make_default(session, find_bundle(session, wanted))
    except ServiceError as error:
        if error.code != "bundle_forged":
            raise
        log.error("default_bundle_forged")  # noqa: TRY400 - the alert says the rest


def _beat(service: Service, stopped: threading.Event) -> None:
    while not stopped.wait(min(2.0, service.leases.lease_s / 8)):
        try:
            with service.database.write() as session:
                session.merge(BeatRow(process="api", beat_at=db_now()))
        except Exception as error:  # noqa: BLE001 - the edge of this thread: a database that is away comes back
            log.warning("beat_missed", kind=type(error).__name__)
