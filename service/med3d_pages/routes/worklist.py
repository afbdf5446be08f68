"""The worklist: filters in the address, page by page, newest first."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.forms import SessionForm
from med3d_pages.rendering import render
from med3d_pages.rows import rows_of
from med3d_pages.worklist_csv import MOST_ROWS, as_table
from med3d_service.api.http.pages import Cursor, cursor_behind, place_of
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.runs.runs import requeue_run
from med3d_service.api.service import Service
from med3d_service.problems import ServiceError
from med3d_service.runs.worklist import ListedRun, Shown, WorklistFilter, list_runs
from med3d_service.studies.finding import Found, found_by
from med3d_service.trust.access import Caller, Operator, Viewer
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.audit.requests import handled, shown

router = APIRouter(include_in_schema=False)
ON_A_PAGE = 50
YEARS = range(1900, 3000)
"""Dates of studies; the clock has no seconds for the first and last days of the calendar."""
Text = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True)
class Filters:
    """What the address asks for, as it was written there."""

    show: str
    q: str
    since: str
    until: str
    sender: str
    old: str

    @property
    def given(self) -> dict[str, str]:
        """The ones that are not empty."""
        return {name: text for name, text in vars(self).items() if text}

    def address(self, **changed: str) -> str:
        """Return the address of the list with some of them changed."""
        wanted = {name: text for name, text in (self.given | changed).items() if text}
        return f"{PREFIX}/worklist" + (f"?{urlencode(wanted)}" if wanted else "")


def typed_filters(
    show: Text = "", q: Text = "", since: Text = "", until: Text = "", sender: Text = "", old: Text = ""
) -> Filters:
    """Take the filters from the address."""
    return Filters(show, q.strip(), since, until, sender.strip(), old)


Typed = Annotated[Filters, Depends(typed_filters)]


@router.get(f"{PREFIX}/worklist")
def show_worklist(
    request: Request,
    service: ServiceParts,
    caller: Viewer,
    filters: Typed,
    cursor: Cursor = None,
    begun: Annotated[int | None, Query(ge=0)] = None,
) -> HTMLResponse:
    """List runs that are wanted."""
    found, sought = _found(service, caller, filters, place_of(cursor), ON_A_PAGE + 1)
    rows = rows_of(request, service, caller, found[:ON_A_PAGE])
    shown(
        request,
        "run",
        [row.listed.run.run_id for row in rows],
        sought=sought.kinds if sought else (),
        each=caller.clinical,
    )
    older = cursor_behind(found[ON_A_PAGE - 1].seq) if len(found) > ON_A_PAGE else None
    return render(
        request,
        "worklist.html",
        rows=rows,
        filters=filters,
        states=list(Shown),
        older=None if older is None else filters.address(cursor=older),
        newest=filters.address() if cursor else None,
        table=filters.address().replace("/worklist", "/worklist.csv", 1),
        begun=begun,
        refresh_s=20 if not cursor and any(row.listed.shown is Shown.WAITING for row in rows) else None,
    )


@router.get(f"{PREFIX}/worklist.csv")
def write_table(request: Request, service: ServiceParts, caller: Viewer, filters: Typed) -> Response:
    """Write the runs that are wanted as CSV, under pseudonyms, whoever asks."""
    found, sought = _found(service, caller, filters, None, MOST_ROWS)
    with service.database.read() as session:
        pseudonyms = service.vault.read_all(session, {one.run.study_id for one in found}, "subject")
    shown(request, "run", [one.run.run_id for one in found], sought=sought.kinds if sought else ())
    headers = {"Content-Disposition": 'attachment; filename="worklist.csv"', "Cache-Control": "private, no-store"}
    return Response(as_table(found, pseudonyms), media_type="text/csv", headers=headers)


@router.post(f"{PREFIX}/worklist/again", dependencies=[TokenInForm])
def run_some_again(
    request: Request, service: ServiceParts, caller: Operator, fields: SessionForm, background: BackgroundTasks
) -> Response:
    """Have the selected runs, which failed or were cancelled, done again; one that is under way again is left."""
    begun = []
    for run_id in fields.every("run")[:ON_A_PAGE]:
        try:
            begun.append(requeue_run(run_id, service, caller, background).run_id)
        except ServiceError as error:
            if error.code not in {"not_requeueable", "unknown_run"}:
                raise
    handled(request, "run", begun)
    return RedirectResponse(f"{PREFIX}/worklist?begun={len(begun)}", 303)


def _found(
    service: Service, caller: Caller, filters: Filters, before: int | None, limit: int
) -> tuple[list[ListedRun], Found | None]:
    """Find the runs of the filters, and by what they were sought."""
    with service.database.read() as session:
        sought = found_by(session, service.vault, caller, filters.q) if filters.q else None
        wanted = _wanted(filters, None if sought is None else sought.ids)
        return list_runs(session, service.vault, caller, wanted, before=before, limit=limit), sought


def _wanted(filters: Filters, only: frozenset[str] | None) -> WorklistFilter:
    since, until = _day(filters.since), _day(filters.until)
    return WorklistFilter(
        shown=Shown(filters.show) if filters.show in set(Shown) else None,
        since=_seconds(since),
        until=_seconds(None if until is None else until + timedelta(days=1)),
        sender=filters.sender or None,
        superseded=bool(filters.old),
        only=only,
    )


def _day(text: str) -> date | None:
    """Read a day as the browser sends it; what is none, or none of a study, asks for nothing."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.year in YEARS else None


def _seconds(day: date | None) -> float | None:
    """When the day begins on the service's clock."""
    return None if day is None else datetime.combine(day, time()).astimezone().timestamp()
