"""Alerts: something that is stored is not what was written. Each is an entry, and a line for a monitor."""

import structlog
from sqlalchemy.orm import Session

from med3d_service.trust.audit.events import Action, AuditEvent, Outcome, process
from med3d_service.trust.audit.trail import AuditTrail

log = structlog.get_logger()


def alert(trail: AuditTrail, session: Session, found_by: str, code: str, object_kind: str, object_id: str) -> None:
    """Append an alert in the caller's transaction; ``found_by`` is the process that came upon it."""
    log.error("integrity_alert", code=code, object_kind=object_kind, object_id=object_id)
    trail.append(session, _event(found_by, code, object_kind, object_id))


def record_alert(trail: AuditTrail, found_by: str, code: str, object_kind: str, object_id: str) -> None:
    """Do the same in a transaction of its own."""
    log.error("integrity_alert", code=code, object_kind=object_kind, object_id=object_id)
    trail.record(_event(found_by, code, object_kind, object_id))


def _event(found_by: str, code: str, object_kind: str, object_id: str) -> AuditEvent:
    return AuditEvent(
        process(found_by),
        Action.ALERT,
        Outcome.FAILED,
        object_kind=object_kind,
        object_id=object_id,
        detail={"code": code},
    )
