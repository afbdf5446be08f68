"""Views of the worklist that people keep: each person's own, by name, without anything that was searched for."""

import hashlib
import uuid
from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from med3d_service.problems import ServiceError
from med3d_service.storage.database import now_of
from med3d_service.storage.saved_view_tables import SavedViewRow
from med3d_service.trust.access import Caller
from med3d_service.trust.access.roles import SESSION

MOST_VIEWS = 30


def views_of(session: Session, caller: Caller) -> Sequence[SavedViewRow]:
    """Read what the caller has kept, by name."""
    query = select(SavedViewRow).where(SavedViewRow.owner == _owner(caller))
    return session.scalars(query.order_by(func.lower(SavedViewRow.name), SavedViewRow.id)).all()


def keep_view(
    session: Session, caller: Caller, name: str, *, shown: str, sender: str, days: int | None, superseded: bool
) -> SavedViewRow:
    """Keep a view; one of the same name is replaced. Raises ServiceError("too_many_views")."""
    mine = views_of(session, caller)
    row = next((one for one in mine if one.name == name), None)
    if row is None:
        if len(mine) >= MOST_VIEWS:
            raise ServiceError("too_many_views")
        now = now_of(session)
        row = SavedViewRow(id=str(uuid.uuid4()), owner=_owner(caller), name=name, created_at=now)
        session.add(row)
    row.shown, row.sender, row.days, row.superseded = shown, sender, days, superseded
    session.flush()
    return row


def forget_view(session: Session, caller: Caller, view_id: str) -> None:
    """Forget one of the caller's own. Raises ServiceError("unknown_view")."""
    mine = delete(SavedViewRow).where(SavedViewRow.id == view_id, SavedViewRow.owner == _owner(caller))
    if session.connection().execute(mine).rowcount != 1:
        raise ServiceError("unknown_view")


def _owner(caller: Caller) -> str:
    """Tell whose it is: a key's, whichever of its sessions asks, or a token's subject."""
    kind = "key" if caller.kind == SESSION else caller.kind
    return hashlib.sha256(f"{kind}\0{caller.prefix}".encode()).hexdigest()
