"""The worklist: filters in the address, page by page, newest first."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from med3d_pages.rendering import PREFIX, render
from med3d_pages.rows import rows_of
from med3d_service.api.routes import ServiceParts
from med3d_service.api.routes.pages import Cursor, cursor_behind, place_of
from med3d_service.runs.worklist import Shown, WorklistFilter, list_runs
from med3d_service.studies.finding import found_by
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.requests import shown

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


@router.get(f"{PREFIX}/worklist")
def show_worklist(
    request: Request,
    service: ServiceParts,
    caller: Viewer,
    show: Text = "",
    q: Text = "",
    since: Text = "",
    until: Text = "",
    sender: Text = "",
    old: Text = "",
    cursor: Cursor = None,
) -> HTMLResponse:
    """List runs that are wanted."""
    filters = Filters(show, q.strip(), since, until, sender.strip(), old)
    with service.database.read() as session:
        sought = found_by(session, service.vault, caller, filters.q) if filters.q else None
        wanted = _wanted(filters, None if sought is None else sought.ids)
        found = list_runs(session, service.vault, caller, wanted, before=place_of(cursor), limit=ON_A_PAGE + 1)
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
        refresh_s=20 if not cursor and any(row.listed.shown is Shown.WAITING for row in rows) else None,
    )


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
