"""That a process of the service began and ended is in the trail; one that was killed has no end there."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from med3d_service.trust.audit.events import Action, AuditEvent, process
from med3d_service.trust.audit.trail import AuditTrail

log = structlog.get_logger()


@contextmanager
def audited_life(trail: AuditTrail, name: str) -> Iterator[None]:
    """Record start and end of the process ``name``; a database that is away now must not keep it from its work."""
    _note(trail, name, Action.START)
    try:
        yield
    finally:
        _note(trail, name, Action.STOP)


def _note(trail: AuditTrail, name: str, action: Action) -> None:
    try:
        trail.record(AuditEvent(process(name), action, object_kind="process", object_id=name))
    except Exception as error:  # noqa: BLE001 - the edge of the process
        log.warning("life_not_audited", kind=type(error).__name__)
