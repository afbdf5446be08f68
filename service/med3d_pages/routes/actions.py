"""What a person does on the page of a run. Each form calls the API's own route, and leads back to a page."""

from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.responses import RedirectResponse

from med3d_contract.results import Verdict, VerdictRequest
from med3d_pages.forms import SessionForm
from med3d_pages.rendering import PREFIX
from med3d_pages.routes.result import run_page
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.runs import add_verdict, requeue_run
from med3d_service.api.routes.studies import RunRequest, run_again
from med3d_service.api.service import Service
from med3d_service.problems import ServiceError
from med3d_service.results.cases import read_case
from med3d_service.trust.access import Caller, Operator, Submitter
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.audit.routes import RecordsItself

router = APIRouter(include_in_schema=False)
LONGEST_WHY = 2000


@router.post(f"{PREFIX}/runs/{{run_id}}/verdicts", dependencies=[TokenInForm, RecordsItself])
def give_verdict(
    request: Request, run_id: str, service: ServiceParts, caller: Submitter, fields: SessionForm
) -> Response:
    """Say what one makes of an answer."""
    if fields["verdict"] not in set(Verdict):
        return _again(request, service, caller, run_id, ServiceError("verdict_without_why"))
    why, reader = fields["why"][:LONGEST_WHY], fields["reader"][:100]
    given = VerdictRequest(verdict=Verdict(fields["verdict"]), why=why, reader=reader)
    try:
        add_verdict(run_id, given, service, caller)
    except ServiceError as error:
        if error.code != "verdict_without_why":
            raise
        return _again(request, service, caller, run_id, error)
    return RedirectResponse(f"{PREFIX}/runs/{run_id}#verdicts", 303)


@router.post(f"{PREFIX}/runs/{{run_id}}/again", dependencies=[TokenInForm])
def run_once_more(
    run_id: str, service: ServiceParts, caller: Operator, _fields: SessionForm, background: BackgroundTasks
) -> Response:
    """Have a failed run done again."""
    again = requeue_run(run_id, service, caller, background)
    return RedirectResponse(f"{PREFIX}/runs/{again.run_id}", 303)


@router.post(f"{PREFIX}/studies/{{study_id}}/series", dependencies=[TokenInForm])
def run_by_hand(
    study_id: str,
    response: Response,
    service: ServiceParts,
    caller: Submitter,
    fields: SessionForm,
    background: BackgroundTasks,
) -> Response:
    """Have another series of the study analysed."""
    made = run_again(study_id, RunRequest(series=fields["series"][:300]), response, service, caller, background)
    return RedirectResponse(f"{PREFIX}/runs/{made.run_id}", 303)


def _again(request: Request, service: Service, caller: Caller, run_id: str, error: ServiceError) -> Response:
    """Show the page once more, with what is to be mended."""
    case = read_case(service, caller, run_id)
    if case is None:
        raise ServiceError("unknown_run")
    return run_page(request, case, status=error.status, problem=error.code)
