"""The page of one run: its answer and why to believe it, or why there is none and what would help."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from med3d_contract.results import Verdict
from med3d_pages.addresses import PREFIX
from med3d_pages.bars import age_bar
from med3d_pages.latent_view import latent_place
from med3d_pages.person_view import visit_lines
from med3d_pages.rendering import render, texts_for
from med3d_pages.result_view import arithmetic, chart, measures
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.runs.bundles import BundleView, list_bundles
from med3d_service.problems import ServiceError
from med3d_service.results.cases import Case, read_case
from med3d_service.runs.worklist import Shown
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.requests import note_shown

router = APIRouter(include_in_schema=False)
FOLLOWED_EVERY_S = 5
PLACES = ("left", "right", "above", "below")
SIDES = {
    plane: tuple(zip(PLACES, letters, strict=True))
    for plane, letters in (("axial", "RLAP"), ("coronal", "RLSI"), ("sagittal", "APSI"))
}
"""How pictures are turned (med3d_contract.pictures): the letters of the patient's sides, and where each stands."""


@router.get(f"{PREFIX}/runs/{{run_id}}")
def show_run(request: Request, run_id: str, service: ServiceParts, caller: Viewer) -> HTMLResponse:
    """Show one run."""
    case = read_case(service, caller, run_id)
    if case is None:
        raise ServiceError("unknown_run")
    others = [one for one in case.person.run_ids if one != run_id] if case.person else []
    note_shown(request, "run", [run_id, *others], each=caller.clinical)
    return run_page(request, case, list_bundles(service, caller).items)


@dataclass(frozen=True)
class TypedVerdict:
    """What stands in the form for a verdict. seen: what of others' doing the page showed to who fills it in."""

    verdict: str = ""
    why: str = ""
    reader: str = ""
    seen: str = ""


def seen_in(case: Case) -> str:
    """Name what a person who gives a verdict must have seen: the run in this one's place, the verdict that stands."""
    standing = case.listed.run.verdict
    return f"{case.listed.superseded_by or '-'} {standing.verdict_id if standing else '-'}"


def run_page(
    request: Request,
    case: Case,
    bundles: Sequence[BundleView],
    *,
    status: int = 200,
    problem: str | None = None,
    typed: TypedVerdict = TypedVerdict(),
) -> HTMLResponse:
    """Render the page of a case; ``problem`` says what of a form that was ``typed`` is to be mended."""
    texts, run = texts_for(request), case.listed.run
    result = run.result
    return render(
        request,
        "run/run.html",
        status=status,
        case=case,
        listed=case.listed,
        run=run,
        problem=problem,
        typed=typed,
        seen=seen_in(case),
        bundles=[one for one in bundles if one.digest != run.bundle.digest],
        state=case.listed.shown,
        planes=tuple(SIDES) if case.has_pictures else (),
        sides=SIDES,
        verdicts=list(Verdict),
        bar=None if result is None else age_bar(result.brain_age, texts),
        arithmetic=None if result is None else arithmetic(result.brain_age, texts),
        measures=() if run.quality is None else measures(run.quality, texts),
        chart=chart(case, texts),
        place=latent_place(case),
        found=case.person.trajectory if case.person else None,
        rows=visit_lines(case.person, texts) if case.person else (),
        explainable=case.can_be_explained and request.app.state.service.settings.explanations,
        explaining="explaining" in request.query_params,
        follow=run.run_id,
        refresh_s=FOLLOWED_EVERY_S if case.listed.shown is Shown.WAITING else None,
    )
