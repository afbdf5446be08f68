"""Erasing a study."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query
from sqlalchemy import select

from med3d_contract.results import Frozen
from med3d_service.api.http.conditional import IfMatch, require_unchanged
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.routes.studies.studies import study_view
from med3d_service.custody.erasure import erase_study, finish_erasures
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.storage.tables import StudyRow
from med3d_service.trust.access import Admin
from med3d_service.trust.audit import Actor
from med3d_service.trust.audit.routes import RecordsItself

router = APIRouter(tags=["studies"])
EXAMPLE = {"study_ids": [examples.STUDY_ID], "runs": 1, "objects": 5}


class ErasedView(Frozen):
    """What was erased: the study, and versions of it that shared its instances."""

    study_ids: tuple[str, ...]
    runs: int
    objects: int


@router.delete(
    "/studies/{study_id}",
    dependencies=[RecordsItself],
    summary="Erase a study",
    responses=problems("unknown_study", "study_in_work", "state_changed", *AUTH_CODES)
    | {
        200: {
            "description": "Its rows are gone; its objects go within seconds, also where that is broken off",
            "content": {"application/json": {"example": EXAMPLE}},
        }
    },
)
def erase(
    study_id: str,
    service: ServiceParts,
    caller: Admin,
    background: BackgroundTasks,
    reason: Annotated[
        str,
        Query(pattern=r"^[a-z0-9_-]{1,40}$", description="a word for the audit trail; not a patient's name"),
    ] = "request",
    if_match: IfMatch = None,
) -> ErasedView:
    """Erase originals, identifiers, working copy, tensors, latents, results and what waits to be delivered.

    With If-Match only while the study is as GET showed it: with no run or answer that the caller has not seen.

    A tombstone and the audit trail say that it was here and who erased it. What was delivered is not called back.
    """
    actor = Actor(caller.kind, caller.name, caller.role, caller.address)
    with service.database.write() as session:
        query = select(StudyRow).where(StudyRow.id == study_id, caller.sees(StudyRow.site)).with_for_update()
        study = session.scalars(query).first()
        if study is None:
            raise ServiceError("unknown_study")
        require_unchanged(if_match, study_view(service, session, study))
        erased = erase_study(
            session, study, actor, reason=reason, store=service.store, vault=service.vault, trail=service.audit
        )
    background.add_task(finish_erasures, service.database, service.store)
    return ErasedView(study_ids=erased.study_ids, runs=erased.runs, objects=erased.objects)
