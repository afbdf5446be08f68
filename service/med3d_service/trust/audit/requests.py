"""Every request of a person, and every one that was turned away, leaves an entry before it is answered."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog
from anyio import to_thread
from sqlalchemy.exc import OperationalError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from med3d_service.problem_answers import problem_response
from med3d_service.problems import ServiceError
from med3d_service.trust.access import Caller
from med3d_service.trust.audit.events import NOBODY, Action, Actor, AuditEvent, Outcome
from med3d_service.trust.audit.routes import action_of, leaves_no_entry
from med3d_service.trust.audit.trail import AuditTrail

log = structlog.get_logger()

SAME_AGAIN_S = 60.0
REMEMBERED = 10_000


@dataclass(frozen=True)
class _Audited:
    """What a handler said that a request was about. each: whether every id belongs into the entry."""

    kind: str
    ids: tuple[str, ...]
    sought: tuple[str, ...] = ()
    each: bool = False

    def detail(self) -> dict[str, str | int]:
        found: dict[str, str | int] = {"count": len(self.ids)}
        if len(self.ids) > 1 and self.each:
            found["ids"] = " ".join(map(_known_form, self.ids))
        elif len(self.ids) > 1:
            found |= {"newest": self.ids[0], "oldest": self.ids[-1]}
        if self.sought:
            found["sought"] = " ".join(sorted(self.sought))
        return found


def note_shown(
    request: Request, kind: str, ids: Sequence[str], *, sought: Sequence[str] = (), each: bool = False
) -> None:
    """Say what a list shows, newest first; ``sought`` names the kinds of identifiers that were searched by.

    each: every id is recorded, for the list says who the patients are.
    """
    request.state.audited = _Audited(kind, tuple(ids), tuple(sought), each)


def note_handled(request: Request, kind: str, ids: Iterable[str]) -> None:
    """Say what a bulk call is about: each id is recorded."""
    request.state.audited = _Audited(kind, tuple(sorted(ids)), each=True)


class RequestAudit:
    """Wraps the API. Where the trail cannot be written, nothing is shown: the answer is 503 or 507."""

    def __init__(self, trail: AuditTrail, clock: Callable[[], float] = time.monotonic) -> None:
        self._trail, self._clock = trail, clock
        self._recent: OrderedDict[AuditEvent | tuple[object, ...], float] = OrderedDict()

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Wrap ``app``."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            refused = False

            async def recording_send(message: Message) -> None:
                nonlocal refused
                if message["type"] == "http.response.start":
                    error = await self._record(scope, message["status"])
                    if error is not None:
                        refused = True
                        await problem_response(error)(scope, receive, send)
                if not refused:
                    await send(message)

            await app(scope, receive, recording_send)

        return watched

    async def _record(self, scope: Scope, status: int) -> ServiceError | None:
        event = _event(scope, status)
        if event is None or self._is_repeated(event):
            return None
        try:
            await to_thread.run_sync(self._trail.record, event)
        except OperationalError as error:
            full = "disk is full" in str(error) or "No space left" in str(error)
            log.error("audit_trail_not_written", full=full)  # noqa: TRY400 - the frames say nothing more
            return ServiceError("disk_full" if full else "unavailable")
        return None

    def _is_repeated(self, event: AuditEvent) -> bool:
        """Tell whether the same caller read the same a moment ago: who waits for a run asks again."""
        if event.action is not Action.READ or event.outcome is not Outcome.DONE:
            return False
        key, now = (event.actor, event.object_kind, event.object_id, event.detail_text), self._clock()
        last = self._recent.pop(key, None)
        if last is not None and now - last < SAME_AGAIN_S:
            self._recent[key] = last
            return True
        self._recent[key] = now
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        return False


def _event(scope: Scope, status: int) -> AuditEvent | None:
    """Return what a request comes to; None where it touched nobody's data."""
    state, route = scope.get("state", {}), scope.get("route")
    path = getattr(route, "path", "none")
    caller: Caller | None = state.get("caller")
    if caller is None:
        return _refusal_at_the_door(scope, path, status)
    denied = status == 403
    if leaves_no_entry(scope, status):
        return None
    kind, object_id, detail = _object(scope, path)
    action = Action.SEARCH if "sought" in detail else action_of(scope)
    outcome = Outcome.DENIED if denied else Outcome.DONE if status < 400 else Outcome.FAILED
    actor = Actor(caller.kind, caller.name, caller.role, caller.address)
    return AuditEvent(actor, action, outcome, kind, object_id, detail | {"route": path, "status": status})


def _object(scope: Scope, path: str) -> tuple[str, str, dict[str, str | int]]:
    """Return kind and id of what it was about: the last id in the path, else what the handler said that it showed."""
    audited: _Audited | None = scope.get("state", {}).get("audited")
    if audited is not None:
        only = _known_form(audited.ids[0]) if len(audited.ids) == 1 else ""
        return audited.kind, only, audited.detail()
    parameters = scope.get("path_params", {})
    if not parameters:
        return path.strip("/").split("/")[-1][:16], "", {}
    # Of /runs/{run_id}/pictures/{plane} it was the run that was looked at.
    # Of /cohorts/{cohort}/{move} it was the cohort; DICOMweb names the series and the instance behind their study.
    usual = "cohort" if "cohort" in parameters else list(parameters)[-1]
    name = next((one for one in reversed(parameters) if one.endswith("_id")), usual)
    value = parameters[name]
    return name.removesuffix("_id")[:16], _known_form(str(value)), {}


def _known_form(text: str) -> str:
    """Return an id of ours; what somebody else's text may hold stays out of the trail."""
    return text if len(text) <= 80 and all(c in "0123456789abcdef-" for c in text) else "unknown"


def _refusal_at_the_door(scope: Scope, path: str, status: int) -> AuditEvent | None:
    if status != 401:
        return None
    client = scope.get("client")
    actor = Actor(NOBODY, scope.get("state", {}).get("claimed", "")[:200], address=client[0] if client else "local")
    return AuditEvent(actor, Action.ENTER, Outcome.DENIED, detail={"route": path, "status": status})
