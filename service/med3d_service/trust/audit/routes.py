"""What a route says of its own entry in the audit trail, among its ``dependencies``; a route that says nothing has one.

    @router.post("/heartbeat", dependencies=[Unaudited])

A marker does nothing when it is called; it stands at the route, so that the route cannot move away from it.
"""

from fastapi import Depends
from starlette.types import Scope

from med3d_service.trust.audit.events import Action


async def _leaves_no_entry() -> None:
    """Mark a route that shows nobody's data, or is called several times a second; who is turned away is recorded."""


async def _records_itself() -> None:
    """Mark a route whose entry is in the transaction of its change."""


async def _receives() -> None:
    """Mark a route that takes images in."""


async def _hands_out() -> None:
    """Mark a route by which a worker reads, although its method is one of changes."""


Unaudited = Depends(_leaves_no_entry)
RecordsItself = Depends(_records_itself)
Receives = Depends(_receives)
HandsOut = Depends(_hands_out)

_BY_METHOD = {"GET": Action.READ, "HEAD": Action.READ, "DELETE": Action.ERASE}


def leaves_no_entry(scope: Scope, status: int) -> bool:
    """Return whether the request's route keeps itself out of the trail, given the answer's status."""
    marks = _marks(scope)
    return (_leaves_no_entry in marks and status != 403) or (_records_itself in marks and status < 400)


def action_of(scope: Scope) -> Action:
    """Return what a request to this route does to what it is about."""
    marks = _marks(scope)
    if _receives in marks:
        return Action.RECEIVE
    if _hands_out in marks:
        return Action.READ
    return _BY_METHOD.get(scope["method"], Action.CHANGE)


def _marks(scope: Scope) -> frozenset[object]:
    declared = getattr(scope.get("route"), "dependencies", ())
    return frozenset(one.dependency for one in declared)
