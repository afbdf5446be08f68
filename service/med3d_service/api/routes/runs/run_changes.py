"""Several runs changed at once: done again, made more or less urgent, taken back."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks
from pydantic import Field

from med3d_contract.results import Frozen
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.service import Service
from med3d_service.problems import AUTH_CODES, problems
from med3d_service.runs.changing import RunChange, change_runs
from med3d_service.runs.queueing.dispatch import send_waiting
from med3d_service.trust.access import Operator
from med3d_service.trust.audit.routes import RecordsItself

router = APIRouter(tags=["runs"])
MOST_RUNS = 200
EXAMPLE: dict[str, Any] = {
    "changed": [{"run_id": examples.RUN_ID, "stands": examples.RUN_ID}],
    "left": [{"run_id": examples.STUDY_ID, "code": "unknown_run", "detail": "No run of this id can be seen."}],
}


class RunChangesRequest(Frozen):
    """What to do with which runs. ``requeue`` is for runs that failed or were cancelled, all else for such as wait."""

    change: RunChange
    run_ids: Annotated[tuple[Annotated[str, Field(max_length=36)], ...], Field(min_length=1, max_length=MOST_RUNS)]


class ChangedRunView(Frozen):
    """A run that was changed; ``stands``: the run that stands for it now, another one where it was begun anew."""

    run_id: str
    stands: str


class LeftRunView(Frozen):
    """A run that is as it was, with the code that a route for it alone would have answered."""

    run_id: str
    code: str
    detail: str


class RunChangesView(Frozen):
    """What became of each run that was named."""

    changed: tuple[ChangedRunView, ...]
    left: tuple[LeftRunView, ...]


@router.post(
    "/runs/changes",
    summary="Do several runs again, hurry them, or take them back",
    dependencies=[RecordsItself],
    responses=problems(*AUTH_CODES)
    | {200: {"description": "What became of each", "content": {"application/json": {"example": EXAMPLE}}}},
)
def change_some_runs(
    wanted: RunChangesRequest, service: ServiceParts, caller: Operator, background: BackgroundTasks
) -> RunChangesView:
    """Change what can be changed so, and say of every other run why not. The same again changes nothing."""
    with service.database.write() as session:
        found = change_runs(session, service.audit, caller, wanted.change, wanted.run_ids)
    if found.changed and wanted.change is not RunChange.CANCEL:
        background.add_task(_send, service, [one.stands for one in found.changed])
    return RunChangesView(
        changed=tuple(ChangedRunView(run_id=one.run_id, stands=one.stands) for one in found.changed),
        left=tuple(LeftRunView(run_id=run_id, code=why.code, detail=why.detail) for run_id, why in found.left),
    )


def _send(service: Service, run_ids: list[str]) -> None:
    send_waiting(service.database, service.broker, redispatch_s=service.settings.redispatch_s, run_ids=run_ids)
