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
from med3d_service.api.routes.runs.run_changes import RunChangesRequest, change_some_runs
from med3d_service.api.routes.runs.saved_views import (
    SavedView,
    SavedViewRequest,
    delete_view,
    list_saved_views,
    save_view,
)
from med3d_service.api.service import Service
from med3d_service.problems import ServiceError
from med3d_service.runs.changing import RunChange
from med3d_service.runs.worklist import ListedRun, Shown, WorklistFilter, list_runs
from med3d_service.studies.finding import Found, found_by
from med3d_service.trust.access import Caller, Operator, Viewer
from med3d_service.trust.access.own_pages import TokenInForm
from med3d_service.trust.audit.requests import note_shown
from med3d_service.trust.audit.routes import RecordsItself

router = APIRouter(include_in_schema=False)
ON_A_PAGE = 50
LOOKED_AT_EVERY_S = 60
YEARS = range(1900, 3000)
"""Dates of studies; the clock has no seconds for the first and last days of the calendar."""
LAST_DAYS = (1, 7, 30)
MOST_DAYS = 3650
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
    days: str

    @property
    def given(self) -> dict[str, str]:
        """The ones that are not empty."""
        return {name: text for name, text in vars(self).items() if text}

    def address(self, **changed: str) -> str:
        """Return the address of the list with some of them changed."""
        wanted = {name: text for name, text in (self.given | changed).items() if text}
        return f"{PREFIX}/worklist" + (f"?{urlencode(wanted)}" if wanted else "")


def typed_filters(
    show: Text = "",
    q: Text = "",
    since: Text = "",
    until: Text = "",
    sender: Text = "",
    old: Text = "",
    days: Text = "",
) -> Filters:
    """Take the filters from the address."""
    return Filters(show, q.strip(), since, until, sender.strip(), old, days)


Typed = Annotated[Filters, Depends(typed_filters)]


@router.get(f"{PREFIX}/worklist")
def show_worklist(
    request: Request,
    service: ServiceParts,
    caller: Viewer,
    filters: Typed,
    cursor: Cursor = None,
    changed: Annotated[int | None, Query(ge=0)] = None,
    left: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """List runs that are wanted."""
    found, sought = _found(service, caller, filters, place_of(cursor), ON_A_PAGE + 1)
    rows = rows_of(request, service, caller, found[:ON_A_PAGE])
    note_shown(
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
        last_days=LAST_DAYS,
        most_in_table=MOST_ROWS,
        views=[(one, _filters_of(one)) for one in list_saved_views(service, caller).items],
        older=None if older is None else filters.address(cursor=older),
        newest=filters.address() if cursor else None,
        table=filters.address().replace("/worklist", "/worklist.csv", 1),
        changed=changed,
        left=left,
        changes=list(RunChange),
        form=filters.address().replace("/worklist", "/worklist/changes", 1),
        refresh_s=None if cursor else LOOKED_AT_EVERY_S,
    )


@router.get(f"{PREFIX}/worklist.csv")
def write_table(request: Request, service: ServiceParts, caller: Viewer, filters: Typed) -> Response:
    """Write the runs that are wanted as CSV, under pseudonyms, whoever asks."""
    found, sought = _found(service, caller, filters, None, MOST_ROWS)
    with service.database.read() as session:
        pseudonyms = service.vault.read_all(session, {one.run.study_id for one in found}, "subject")
    note_shown(request, "run", [one.run.run_id for one in found], sought=sought.kinds if sought else ())
    headers = {"Content-Disposition": 'attachment; filename="worklist.csv"', "Cache-Control": "private, no-store"}
    return Response(as_table(found, pseudonyms), media_type="text/csv", headers=headers)


@router.post(f"{PREFIX}/worklist/changes", dependencies=[TokenInForm, RecordsItself])
def change_selected(
    service: ServiceParts, caller: Operator, fields: SessionForm, background: BackgroundTasks, filters: Typed
) -> Response:
    """Have the selected runs done again, hurried or taken back; the list, as it was filtered, says how many were."""
    selected = fields.every("run")[:ON_A_PAGE]
    if not selected:
        return RedirectResponse(filters.address(changed="0", left="0"), 303)
    try:
        wanted = RunChangesRequest(change=RunChange(fields["change"]), run_ids=tuple(selected))
    except ValueError as error:
        raise ServiceError("invalid_request", "Choose what to do with the selected runs.") from error
    found = change_some_runs(wanted, service, caller, background)
    return RedirectResponse(filters.address(changed=str(len(found.changed)), left=str(len(found.left))), 303)


@router.post(f"{PREFIX}/worklist/views", dependencies=[TokenInForm])
def keep_this_view(service: ServiceParts, caller: Viewer, fields: SessionForm, filters: Typed) -> Response:
    """Keep the filters of the list under a name."""
    try:
        wanted = SavedViewRequest(
            name=fields["name"],
            shown=Shown(filters.show) if filters.show else None,
            sender=filters.sender or None,
            days=int(filters.days) if filters.days else None,
            superseded=bool(filters.old),
        )
    except ValueError as error:
        raise ServiceError("invalid_request", "A view has a name of at most 60 letters, and filters.") from error
    save_view(wanted, service, caller)
    return RedirectResponse(filters.address(), 303)


@router.post(f"{PREFIX}/worklist/views/forget", dependencies=[TokenInForm])
def forget_this_view(service: ServiceParts, caller: Viewer, fields: SessionForm, filters: Typed) -> Response:
    """Forget a view that one keeps."""
    delete_view(fields["view"], service, caller)
    return RedirectResponse(filters.address(), 303)


def _filters_of(kept: SavedView) -> Filters:
    """Turn a view that is kept into the filters that it stands for."""
    days, old = str(kept.days or ""), "1" if kept.superseded else ""
    return Filters(kept.shown or "", "", "", "", kept.sender or "", old, days)


def _found(
    service: Service, caller: Caller, filters: Filters, before: int | None, limit: int
) -> tuple[list[ListedRun], Found | None]:
    """Find the runs of the filters, and by what they were sought."""
    with service.database.read() as session:
        sought = found_by(session, service.vault, caller, filters.q) if filters.q else None
        wanted = _wanted(filters, None if sought is None else sought.ids)
        return list_runs(session, service.vault, caller, wanted, before=before, limit=limit), sought


def _wanted(filters: Filters, only: frozenset[str] | None) -> WorklistFilter:
    since, until = _day(filters.since) or _days_ago(filters.days), _day(filters.until)
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


def _days_ago(text: str) -> date | None:
    """Return the first of so many last days, today among them; of what is no such number, none."""
    is_number = text.isascii() and text.isdecimal() and 0 < int(text[:5]) <= MOST_DAYS
    return datetime.now().astimezone().date() - timedelta(days=int(text) - 1) if is_number else None


def _seconds(day: date | None) -> float | None:
    """Tell when the day begins on the service's clock."""
    return None if day is None else datetime.combine(day, time()).astimezone().timestamp()
