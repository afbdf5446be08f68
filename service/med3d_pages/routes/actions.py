"""What a person does on the page of a run. Each form calls the API's own route, and leads back to a page."""

from urllib.parse import quote

from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.responses import RedirectResponse

from med3d_contract.results import Verdict, VerdictRequest
from med3d_pages.addresses import PREFIX
from med3d_pages.forms import SessionForm
from med3d_pages.routes.result import TypedVerdict, run_page, seen_in
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.results.explanations import read_shares
from med3d_service.api.routes.runs.bundles import list_bundles
from med3d_service.api.routes.runs.run_changes import RunChangesRequest, change_some_runs
from med3d_service.api.routes.runs.runs import add_verdict, requeue_run
from med3d_service.api.routes.studies.studies import RunRequest, run_again
from med3d_service.problems import ServiceError
from med3d_service.results.cases import Case, read_case
from med3d_service.runs.changing import RunChange
from med3d_service.trust.access import Operator, Submitter, Viewer
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.audit.routes import RecordsItself, Unaudited

router = APIRouter(include_in_schema=False)
LONGEST_WHY, LONGEST_READER = 2000, 100
OVERTAKEN = "changed_meanwhile"


@router.get(f"{PREFIX}/runs/{{run_id}}/verdicts", dependencies=[Unaudited])
def lead_back(run_id: str, caller: Viewer) -> Response:
    """Lead who opens the address of a form that was to be mended, as after signing in again, to its page."""
    del caller
    return RedirectResponse(f"{PREFIX}/runs/{quote(run_id, safe='')}#verdicts", 303)


@router.post(f"{PREFIX}/runs/{{run_id}}/verdicts", dependencies=[TokenInForm, RecordsItself])
def give_verdict(
    request: Request, run_id: str, service: ServiceParts, caller: Submitter, fields: SessionForm
) -> Response:
    """Say what one makes of an answer. What is to be mended, or was overtaken, is shown with what was typed."""
    typed = TypedVerdict(fields["verdict"], fields.lines("why"), fields["reader"], fields["seen"])
    case = read_case(service, caller, run_id)
    if case is None:
        raise ServiceError("unknown_run")
    bundles = list_bundles(service, caller).items
    if (problem := _problem(case, typed)) is not None:
        return run_page(
            request, case, bundles, status=409 if problem == OVERTAKEN else 422, problem=problem, typed=typed
        )
    given = VerdictRequest(verdict=Verdict(typed.verdict), why=typed.why, reader=typed.reader)
    try:
        add_verdict(run_id, given, service, caller)
    except ServiceError as error:
        if error.code != "verdict_without_why":
            raise
        return run_page(request, case, bundles, status=error.status, problem=error.code, typed=typed)
    return RedirectResponse(f"{PREFIX}/runs/{run_id}#verdicts", 303)


def _problem(case: Case, typed: TypedVerdict) -> str | None:
    """Say what keeps a verdict from being given; that it needs a reason is the API's to say."""
    if typed.verdict not in set(Verdict):
        return "verdict_without_why"
    if len(typed.why) > LONGEST_WHY or len(typed.reader) > LONGEST_READER:
        return "too_long"
    is_overtaken = typed.verdict != Verdict.COMMENT and typed.seen not in {"", seen_in(case)}
    return OVERTAKEN if is_overtaken else None


@router.post(f"{PREFIX}/runs/{{run_id}}/again", dependencies=[TokenInForm])
def run_once_more(
    run_id: str, service: ServiceParts, caller: Operator, _fields: SessionForm, background: BackgroundTasks
) -> Response:
    """Have a failed run done again."""
    again = requeue_run(run_id, service, caller, background)
    return RedirectResponse(f"{PREFIX}/runs/{again.run_id}", 303)


@router.post(f"{PREFIX}/runs/{{run_id}}/changes", dependencies=[TokenInForm, RecordsItself])
def change_run(
    run_id: str, service: ServiceParts, caller: Operator, fields: SessionForm, background: BackgroundTasks
) -> Response:
    """Hurry a run that is under way, give it time again, or take it back; its page shows where it stands."""
    try:
        wanted = RunChangesRequest(change=RunChange(fields["change"]), run_ids=(run_id,))
    except ValueError as error:
        raise ServiceError("invalid_request", "Choose what to do with the run.") from error
    change_some_runs(wanted, service, caller, background)
    return RedirectResponse(f"{PREFIX}/runs/{quote(run_id, safe='')}", 303)


@router.post(f"{PREFIX}/runs/{{run_id}}/explanation", dependencies=[TokenInForm])
def have_explained(run_id: str, service: ServiceParts, caller: Viewer, _fields: SessionForm) -> Response:
    """Have a worker explain a run's number; the page shows it once it is made."""
    read_shares(run_id, service, caller)
    return RedirectResponse(f"{PREFIX}/runs/{run_id}?explaining=1#explanation", 303)


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


@router.post(f"{PREFIX}/studies/{{study_id}}/bundle", dependencies=[TokenInForm])
def run_by_bundle(
    study_id: str,
    response: Response,
    service: ServiceParts,
    caller: Submitter,
    fields: SessionForm,
    background: BackgroundTasks,
) -> Response:
    """Have the study run by another model."""
    made = run_again(study_id, RunRequest(bundle=fields["bundle"][:300]), response, service, caller, background)
    return RedirectResponse(f"{PREFIX}/runs/{made.run_id}", 303)
