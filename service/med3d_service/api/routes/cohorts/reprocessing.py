"""Working a cohort through by a bundle: begin, pause, resume, cancel, and what there was."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.cohorts import ReprocessingRequest, ReprocessingStatus, ReprocessingView
from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.routes.cohorts.cohorts import CohortId
from med3d_service.api.service import Service
from med3d_service.cohorts import reprocessing
from med3d_service.cohorts.members import find_cohort, join_by_filter
from med3d_service.cohorts.tables import ReprocessingRow
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs.bundles import find_bundle_for_run
from med3d_service.trust.access import Caller, Submitter, Viewer

router = APIRouter(tags=["cohorts"])
MOST_SHOWN = 50


class ReprocessingList(Frozen):
    """The newest reprocessings of a cohort, newest first."""

    items: tuple[ReprocessingView, ...]


def _answers(description: str, status: int = 200) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": description, "content": {"application/json": {"example": examples.REPROCESSING}}}}


@router.post(
    "/cohorts/{cohort}/reprocess",
    status_code=202,
    summary="Work a cohort through",
    responses=problems(
        "unknown_cohort",
        "unknown_bundle",
        "bundle_retired",
        "no_bundle",
        "bundle_forged",
        "reprocessing_under_way",
        "no_schedule",
        *AUTH_CODES,
    )
    | _answers("It begins", 202),
)
def begin(cohort: CohortId, wanted: ReprocessingRequest, service: ServiceParts, caller: Submitter) -> ReprocessingView:
    """Give every member a run by the bundle that has none; answers that are there stay, beside the new ones.

    A member that failed for good is left, unless ``retry_faults`` asks for another try.
    """
    with service.database.write() as session:
        found = find_cohort(session, caller, cohort, lock=True)
        if wanted.in_window and found.schedule is None:
            raise ServiceError("no_schedule")
        bundle = find_bundle_for_run(session, wanted.bundle or found.bundle)
        join_by_filter(session, found)
        row = reprocessing.begin(session, found, bundle, in_window=wanted.in_window, retry_faults=wanted.retry_faults)
        return reprocessing.reprocessing_view(session, found, row)


@router.get(
    "/cohorts/{cohort}/reprocessings",
    summary="List what a cohort went through",
    responses=problems("unknown_cohort", *AUTH_CODES)
    | {
        200: {
            "description": "The newest, newest first",
            "content": {"application/json": {"example": {"items": [examples.REPROCESSING]}}},
        }
    },
)
def list_reprocessings(cohort: CohortId, service: ServiceParts, caller: Viewer) -> ReprocessingList:
    """List the cohort's reprocessings, the one under way first."""
    with service.database.read() as session:
        found = find_cohort(session, caller, cohort)
        query = select(ReprocessingRow).where(ReprocessingRow.cohort_id == found.id)
        rows = session.scalars(query.order_by(ReprocessingRow.seq.desc()).limit(MOST_SHOWN)).all()
        return ReprocessingList(items=tuple(reprocessing.reprocessing_view(session, found, row) for row in rows))


_MOVES = problems("unknown_cohort", "no_reprocessing", *AUTH_CODES)


@router.post("/cohorts/{cohort}/pause", summary="Let a cohort rest", responses=_MOVES | _answers("It rests"))
def pause(cohort: CohortId, service: ServiceParts, caller: Submitter) -> ReprocessingView:
    """Begin nothing more until it is resumed; what is in work is finished."""
    return _moved(
        service, caller, cohort, lambda session, row: reprocessing.rest(session, row, ReprocessingStatus.PAUSED)
    )


@router.post("/cohorts/{cohort}/resume", summary="Let a cohort go on", responses=_MOVES | _answers("It goes on"))
def resume(cohort: CohortId, service: ServiceParts, caller: Submitter) -> ReprocessingView:
    """Go on; one that keeps to a window waits for it to open."""

    def move(session: Session, row: ReprocessingRow) -> None:
        if row.in_window:
            reprocessing.rest(session, row, ReprocessingStatus.WAITING)
        else:
            reprocessing.go_on(session, row)

    return _moved(service, caller, cohort, move)


@router.post("/cohorts/{cohort}/cancel", summary="End it here", responses=_MOVES | _answers("It has ended"))
def cancel(cohort: CohortId, service: ServiceParts, caller: Submitter) -> ReprocessingView:
    """Take back what has not begun. Answers stay, and the next time goes on behind them."""
    return _moved(service, caller, cohort, reprocessing.cancel)


def _moved(
    service: Service, caller: Caller, cohort: str, move: Callable[[Session, ReprocessingRow], None]
) -> ReprocessingView:
    with service.database.write() as session:
        found = find_cohort(session, caller, cohort, lock=True)
        row = reprocessing.under_way(session, found.id)
        if row is None:
            raise ServiceError("no_reprocessing")
        move(session, row)
        return reprocessing.reprocessing_view(session, found, row)
