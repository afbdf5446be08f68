"""Cohorts: making one, letting studies join, reading."""

from typing import Annotated, Any

import anyio
import structlog
from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.cohorts import (
    CohortChange,
    CohortDraft,
    CohortView,
    MembersAnswer,
    MembersRequest,
)
from med3d_contract.results import Frozen
from med3d_service.api.door import ReadsAsItComes
from med3d_service.api.http.bodies import in_thread, read_body
from med3d_service.api.http.conditional import IfMatch, require_unchanged
from med3d_service.api.http.pages import Cursor, Limit, cut, newest_first
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.routes.studies.study_form import FORM, INTAKE_CODES
from med3d_service.api.service import Service
from med3d_service.cohorts import members
from med3d_service.cohorts.tables import CohortRow
from med3d_service.cohorts.views import cohort_view
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs.bundles import find_bundle_for_run
from med3d_service.storage.tables import StudyRow
from med3d_service.studies.uploads.fields import SubmittedFields
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import Limits, Meter
from med3d_service.studies.uploads.receiving import ReceivedStudy
from med3d_service.trust.access import Caller, Submitter, Viewer

log = structlog.get_logger()
router = APIRouter(tags=["cohorts"])
CohortId = Annotated[str, Path(max_length=64, description="id or name of the cohort", examples=["ms-clinic"])]
ONLY_WITH_A_RUN = ("priority", "bundle")


class CohortPage(Frozen):
    """Cohorts, newest first."""

    items: tuple[CohortView, ...]
    next_cursor: str | None


class Kept(Frozen):
    """The study is on disk and belongs to the cohort; ``known`` where the store had it."""

    study_id: str
    known: bool


def _example(value: Any, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": value}}}


@router.post(
    "/cohorts",
    status_code=201,
    summary="Make a cohort",
    responses=problems("cohort_exists", "unknown_bundle", "bundle_retired", *AUTH_CODES)
    | {201: _example(examples.COHORT, "The cohort")},
)
def create_cohort(draft: CohortDraft, response: Response, service: ServiceParts, caller: Submitter) -> CohortView:
    """Make a cohort; with a filter those studies join that fit it, now and before each night."""
    with service.database.write() as session:
        _require_bundle(session, draft.bundle)
        made = cohort_view(session, members.create_cohort(session, caller.site, draft))
    response.headers["Location"] = f"/cohorts/{made.cohort_id}"
    return made


@router.get(
    "/cohorts",
    summary="List cohorts, newest first",
    responses=problems("invalid_cursor", *AUTH_CODES)
    | {200: _example({"items": [examples.COHORT], "next_cursor": None}, "A page of cohorts")},
)
def list_cohorts(service: ServiceParts, caller: Viewer, limit: Limit = 50, cursor: Cursor = None) -> CohortPage:
    """List the cohorts of this site."""
    query = newest_first(select(CohortRow).where(caller.sees(CohortRow.site)), CohortRow.seq, limit, cursor)
    with service.database.read() as session:
        rows, next_cursor = cut(session.scalars(query).all(), limit, lambda row: row.seq)
        items = tuple(cohort_view(session, row) for row in rows)
    return CohortPage(items=items, next_cursor=next_cursor)


@router.get(
    "/cohorts/{cohort}",
    summary="Read a cohort",
    responses=problems("unknown_cohort", *AUTH_CODES) | {200: _example(examples.COHORT, "The cohort")},
)
def read_cohort(cohort: CohortId, service: ServiceParts, caller: Viewer) -> CohortView:
    """Read one cohort."""
    with service.database.read() as session:
        return cohort_view(session, members.find_cohort(session, caller, cohort))


@router.patch(
    "/cohorts/{cohort}",
    summary="Change bundle or schedule",
    responses=problems("unknown_cohort", "unknown_bundle", "bundle_retired", "state_changed", *AUTH_CODES)
    | {200: _example(examples.COHORT, "Changed")},
)
def change_cohort(
    cohort: CohortId, change: CohortChange, service: ServiceParts, caller: Submitter, if_match: IfMatch = None
) -> CohortView:
    """Change what the next night uses; what is under way goes on as it began. With If-Match only if nobody else did."""
    with service.database.write() as session:
        found = members.find_cohort(session, caller, cohort, lock=True)
        require_unchanged(if_match, cohort_view(session, found))
        if "bundle" in change.model_fields_set:
            _require_bundle(session, change.bundle)
            found.bundle = change.bundle
        if "schedule" in change.model_fields_set:
            found.schedule = None if change.schedule is None else change.schedule.model_dump(mode="json")
        session.flush()
        return cohort_view(session, found)


@router.post(
    "/cohorts/{cohort}/members",
    summary="Let studies join that are in the store",
    responses=problems("unknown_cohort", *AUTH_CODES)
    | {200: _example({"added": 135, "known": 0, "missing": [17]}, "What joined, and what must be sent first")},
)
def add_members(cohort: CohortId, wanted: MembersRequest, service: ServiceParts, caller: Submitter) -> MembersAnswer:
    """Let studies join by id or digest, and keep what a manifest says of them. The same again changes nothing."""
    with service.database.write() as session:
        found = members.find_cohort(session, caller, cohort, lock=True)
        return members.add_entries(session, service.vault, found, wanted.entries)


@router.post(
    "/cohorts/{cohort}/studies",
    status_code=201,
    dependencies=[ReadsAsItComes],
    summary="Send a study into a cohort",
    responses=problems("unknown_cohort", *INTAKE_CODES, *AUTH_CODES)
    | {
        200: {"model": Kept} | _example({"study_id": examples.STUDY_ID, "known": True}, "The store had it"),
        201: _example({"study_id": examples.STUDY_ID, "known": False}, "It is on disk and belongs to the cohort"),
    },
    openapi_extra={"requestBody": FORM},
)
async def send_study(
    cohort: CohortId, request: Request, response: Response, service: ServiceParts, caller: Submitter
) -> Kept:
    """Take one study as POST /studies does, to be run when the cohort is: no run is made now."""
    site = await in_thread(request, lambda: _site_of(service, caller, cohort))
    form = StudyForm(
        request.headers.get("content-type", ""),
        service.settings.spool_dir,
        service.keys.originals,
        site,
        Meter(Limits.of(service.settings)),
    )
    try:
        await read_body(request, service.settings.max_upload_bytes, form.write)
        fields, received = await in_thread(request, form.finish)
        kept = await in_thread(request, lambda: _keep(service, caller, cohort, site, fields, received))
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(request, form.discard)
    response.status_code = 200 if kept.known else 201
    response.headers["Location"] = f"/studies/{kept.study_id}"
    return kept


def _keep(
    service: Service, caller: Caller, cohort: str, site: str, fields: SubmittedFields, received: ReceivedStudy
) -> Kept:
    if any(getattr(fields, name) is not None for name in ONLY_WITH_A_RUN):
        raise ServiceError("unknown_field", "A study sent into a cohort has no run yet, so no priority and no bundle.")

    def join(session: Session, study: StudyRow, known: bool) -> Kept:
        service.recorder.state(session, study, fields)
        members.add_study(session, members.find_cohort(session, caller, cohort, lock=True), study.id)
        return Kept(study_id=study.id, known=known)

    return service.recorder.keep(site, received, join)


def _site_of(service: Service, caller: Caller, cohort: str) -> str:
    with service.database.read() as session:
        return members.find_cohort(session, caller, cohort).site


def _require_bundle(session: Session, wanted: str | None) -> None:
    """Refuse a name that stands for nothing now: a typing error.

    One that goes away later is told when a night begins.
    """
    if wanted is not None:
        find_bundle_for_run(session, wanted)
