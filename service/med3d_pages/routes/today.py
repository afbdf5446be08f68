"""How the day goes: what needs somebody first, then what came, what waits, and who works on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from med3d_pages.addresses import PREFIX
from med3d_pages.rendering import render, texts_for
from med3d_pages.texts import Catalogue
from med3d_service.api.readiness import Probe, Readiness
from med3d_service.api.routes import ServiceParts
from med3d_service.custody.safekeeping import Safekeeping, read_safekeeping
from med3d_service.results.cases import count_dead_deliveries
from med3d_service.runs.overview import Overview, overview
from med3d_service.runs.worklist import Shown, WorklistFilter, count_runs
from med3d_service.trust.access import Viewer
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(include_in_schema=False)
LONG_WAIT_S = 900.0
MOST_COUNTED = 200
WAITS_FOR_A_VERDICT = WorklistFilter(shown=Shown.REVIEW, unjudged=True)
LOOKED_AT_EVERY_S = 15


@dataclass(frozen=True)
class Alert:
    """Something that needs a person, and where to go."""

    text: str
    link: str | None = None
    bad: bool = True


@router.get(f"{PREFIX}/today", dependencies=[Unaudited])
def show_today(request: Request, service: ServiceParts, caller: Viewer) -> HTMLResponse:
    """Show today."""
    texts, probe = texts_for(request), request.app.state.probe
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    with service.database.read() as session:
        day = overview(session, caller, service.settings, midnight.timestamp())
        dead = count_dead_deliveries(session, caller)
        unjudged = count_runs(session, caller, WAITS_FOR_A_VERDICT, most=MOST_COUNTED)
        kept = read_safekeeping(session, service.settings)
    return render(
        request,
        "today.html",
        day=day,
        kept=kept,
        since=midnight.date().isoformat(),
        shown=[one for one in Shown if one is not Shown.WAITING],
        unjudged=unjudged,
        most_counted=MOST_COUNTED,
        alerts=[*_in_danger(texts, kept), *_alerts(texts, probe, day, dead, unjudged)],
        refresh_s=LOOKED_AT_EVERY_S,
    )


def _in_danger(t: Catalogue, kept: Safekeeping) -> Sequence[Alert]:
    found = [Alert(t("alert.disk"))] if kept.is_full else []
    if kept.discrepancies:
        found.append(Alert(t.counted("alert.ledger", kept.discrepancies)))
    return found


def _alerts(t: Catalogue, probe: Probe, day: Overview, dead: int, unjudged: int) -> Sequence[Alert]:
    found = [Alert(t(f"alert.{part}", why=why)) for part, why in _missing(probe.readiness())]
    if day.oldest_waiting_s is not None and day.oldest_waiting_s > LONG_WAIT_S:
        age = t.numbers.duration(day.oldest_waiting_s)
        found.append(Alert(t("alert.waits", age=age), f"{PREFIX}/worklist?show=waiting"))
    if day.ended[Shown.FAILED]:
        failed = t.counted("alert.failed", day.ended[Shown.FAILED])
        found.append(Alert(failed, f"{PREFIX}/worklist?show=failed"))
    if dead:
        found.append(Alert(t.counted("alert.dead", dead), f"{PREFIX}/pacs#deliveries"))
    if unjudged:
        found.append(Alert(t.counted("alert.review", unjudged), f"{PREFIX}/review", bad=False))
    return found


def _missing(found: Readiness) -> list[tuple[str, str]]:
    parts = (("database", found.database), ("broker", found.broker), ("store", found.store), ("worker", found.worker))
    return [(name, check.why or "") for name, check in parts if not check.ok]
