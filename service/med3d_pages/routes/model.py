"""The page of models: which there are, who signed them, how well they do, where their intervals hold."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from med3d_contract.results import Verdict
from med3d_pages.addresses import PREFIX
from med3d_pages.forms import SessionForm
from med3d_pages.model_view import agreement_rows, baselines, figures, groups, scatter
from med3d_pages.rendering import render, texts_for
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.runs.bundles import BundleView, activate, list_bundles, retire
from med3d_service.api.routes.runs.calibrations import list_calibrations, withdraw
from med3d_service.problems import ServiceError
from med3d_service.results.reports.facts import read_card, read_cohort
from med3d_service.runs.verdict_counts import count_verdicts
from med3d_service.trust.access import Admin, Operator, Viewer
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(include_in_schema=False)
VERDICTS = (Verdict.ACCEPTED, Verdict.REJECTED, Verdict.RESCAN)


@router.get(f"{PREFIX}/model", dependencies=[Unaudited])
def show_model(
    request: Request, service: ServiceParts, caller: Viewer, bundle: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    """Show one model, the default one where none is named, and the list of all."""
    texts, bundles = texts_for(request), list_bundles(service, caller).items
    chosen = _chosen(bundles, bundle)
    if chosen is None:
        return render(request, "model.html", bundles=(), chosen=None)
    card = read_card(service.store, chosen.digest)
    half = None if card is None else card.metrics.get("interval_half_width_years")
    with service.database.read() as session:
        counts = count_verdicts(session, caller, chosen.digest)
    return render(
        request,
        "model.html",
        bundles=bundles,
        chosen=chosen,
        card=card,
        cards={one.digest: read_card(service.store, one.digest) for one in bundles[:20]},
        figures=() if card is None else figures(card, texts),
        groups=() if card is None else groups(card, texts),
        baselines=() if card is None else baselines(card, texts),
        chart=scatter(read_cohort(service.store, chosen.digest), half),
        calibrations=list_calibrations(service, caller).items,
        agreement=agreement_rows(counts, VERDICTS, texts),
        verdicts=VERDICTS,
    )


@router.post(f"{PREFIX}/model/calibrations/withdraw", dependencies=[TokenInForm])
def withdraw_calibration(request: Request, service: ServiceParts, caller: Operator, fields: SessionForm) -> Response:
    """Withdraw a calibration: no answer is given with it from now on."""
    withdraw(_required_digest(fields["digest"], "unknown_calibration"), request, service, caller)
    return RedirectResponse(f"{PREFIX}/model#calibrations", 303)


@router.post(f"{PREFIX}/model/activate", dependencies=[TokenInForm])
def activate_model(request: Request, service: ServiceParts, caller: Admin, fields: SessionForm) -> Response:
    """Make a model the default."""
    activate(_required_digest(fields["digest"], "unknown_bundle"), request, service, caller)
    return RedirectResponse(f"{PREFIX}/model#bundles", 303)


@router.post(f"{PREFIX}/model/retire", dependencies=[TokenInForm])
def retire_model(request: Request, service: ServiceParts, caller: Admin, fields: SessionForm) -> Response:
    """Retire a model: no run is started with it from now on."""
    retire(_required_digest(fields["digest"], "unknown_bundle"), request, service, caller)
    return RedirectResponse(f"{PREFIX}/model#bundles", 303)


def _required_digest(said: str, code: str) -> str:
    """Take a digest alone, for it goes into the audit trail. Raises ServiceError(code)."""
    if not re.fullmatch("[0-9a-f]{64}", said):
        raise ServiceError(code)
    return said


def _chosen(bundles: tuple[BundleView, ...], digest: str) -> BundleView | None:
    """Find the bundle of an address. Raises ServiceError("unknown_bundle")."""
    if not digest:
        return next((one for one in bundles if one.default), bundles[0] if bundles else None)
    found = next((one for one in bundles if one.digest == digest), None)
    if found is None:
        raise ServiceError("unknown_bundle")
    return found
