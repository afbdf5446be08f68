"""Looking things up in the audit trail: entries by who, what and which object, the newest first."""

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from med3d_service.trust.audit.tables import AuditRow


def search_entries(
    session: Session, *, who: str = "", what: str = "", about: str = "", before: int | None = None, limit: int = 50
) -> Sequence[AuditRow]:
    """Find entries from below ``before`` (a number of the trail).

    who: an actor, such as a key's prefix, with its sessions; what: an action; about: an id, alone or among several.
    """
    query = select(AuditRow)
    if who:
        query = query.where(or_(AuditRow.actor == who, AuditRow.actor.startswith(f"{who}.", autoescape=True)))
    if what:
        query = query.where(AuditRow.action == what)
    if about:
        query = query.where(or_(AuditRow.object_id == about, AuditRow.detail.contains(about, autoescape=True)))
    if before is not None:
        query = query.where(AuditRow.seq < before)
    return session.scalars(query.order_by(AuditRow.seq.desc()).limit(limit)).all()
