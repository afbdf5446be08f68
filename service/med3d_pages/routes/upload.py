"""Sending studies from a browser: with its script many at once with their progress, without it one by a plain form."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from med3d_contract.results import Priority, Sex
from med3d_pages.addresses import PREFIX
from med3d_pages.rendering import render, texts_for
from med3d_service.api.door import ReadsAsItComes
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.studies.studies import submit_study
from med3d_service.trust.access import Submitter
from med3d_service.trust.access.own_pages import TokenInForm, settle_token
from med3d_service.trust.audit.routes import Receives, Unaudited

router = APIRouter(include_in_schema=False)


@router.get(f"{PREFIX}/upload", dependencies=[Unaudited])
def show_form(request: Request, caller: Submitter) -> HTMLResponse:
    """Show where studies are dropped."""
    del caller
    return render(
        request, "upload.html", priorities=list(Priority), sexes=list(Sex), words=texts_for(request).spoken_by_scripts()
    )


@router.post(f"{PREFIX}/upload", dependencies=[Receives, ReadsAsItComes, TokenInForm])
async def send_study(
    request: Request,
    response: Response,
    service: ServiceParts,
    caller: Submitter,
    background: BackgroundTasks,
    form: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Take one study by a plain form. Its token is in the address: the body is not read before it is known."""
    settle_token(request, form)
    taken = await submit_study(request, response, service, caller, background)
    return RedirectResponse(f"{PREFIX}/runs/{taken.run_id}", 303, background=background)
