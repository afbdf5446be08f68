"""The page of one person: all visits over time by one model, and where two of them cannot be compared."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.person_view import change_words, chart_words, person_chart, visit_lines
from med3d_pages.rendering import render, texts_for
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.cohorts.subjects import SubjectId, answer_by_figure
from med3d_service.api.routes.runs.bundles import list_bundles
from med3d_service.cohorts.person import read_person, read_trajectory_of
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.requests import note_shown

router = APIRouter(include_in_schema=False)
BundleName = Annotated[str, Query(max_length=300)]


@router.get(f"{PREFIX}/subjects/{{subject_id}}")
def show_person(
    request: Request,
    subject_id: SubjectId,
    service: ServiceParts,
    caller: Viewer,
    bundle: BundleName = "",
) -> HTMLResponse:
    """Show one person over time."""
    person = read_person(service.database, service.store, service.vault, caller, subject_id, bundle or None)
    note_shown(request, "run", person.run_ids, each=caller.clinical)
    texts, found = texts_for(request), person.trajectory
    return render(
        request,
        "person.html",
        person=person,
        found=found,
        chart=person_chart(found, texts),
        rows=visit_lines(person, texts),
        changes=[change_words(found, change, texts) for change in found.reliable_changes],
        bundles=list_bundles(service, caller).items,
    )


@router.get(f"{PREFIX}/subjects/{{subject_id}}/figure")
def draw_person(
    request: Request,
    subject_id: SubjectId,
    service: ServiceParts,
    caller: Viewer,
    form: Literal["svg", "png", "pdf"] = "png",
    bundle: BundleName = "",
) -> Response:
    """Draw one person over time in the page's language, to be saved."""
    found = read_trajectory_of(service.database, service.store, service.vault, caller, subject_id, bundle or None)
    return answer_by_figure(found, form, chart_words(texts_for(request)))
