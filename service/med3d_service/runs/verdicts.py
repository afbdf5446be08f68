"""Verdicts of people on answers: added, never changed; the latest that is no comment stands."""

import hashlib
import uuid
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import RunStatus, Verdict, VerdictRequest, VerdictView
from med3d_service.problems import ServiceError
from med3d_service.runs.views import moment
from med3d_service.storage.database import now_of
from med3d_service.storage.guard import is_genuine
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import RunRow, VerdictRow
from med3d_service.trust.access import Caller
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail

ANSWERED = frozenset({RunStatus.COMPLETED, RunStatus.REFUSED})


def give_verdict(
    session: Session, vault: IdentifierVault, trail: AuditTrail, caller: Caller, run: RunRow, given: VerdictRequest
) -> VerdictView:
    """Add a verdict, with its entry in the audit trail. Raises ServiceError: not_answered, verdict_without_why."""
    if run.status not in ANSWERED:
        raise ServiceError("not_answered")
    why = given.why.strip()
    if not why and given.verdict is not Verdict.ACCEPTED:
        raise ServiceError("verdict_without_why")
    verdict_id = str(uuid.uuid4())
    row = VerdictRow(
        id=verdict_id,
        run_id=run.id,
        verdict=given.verdict,
        why=vault.seal(why, verdict_id),
        reader=given.reader.strip(),
        given_by=f"{caller.kind}:{caller.name}",
        given_at=now_of(session),
    )
    session.add(row)
    session.flush()
    view = _view(vault, row)
    # The trail's seal holds the verdict, too: the row that it was can be told from another one.
    detail = {"verdict": str(given.verdict), "sha256": hashlib.sha256(view.model_dump_json().encode()).hexdigest()}
    actor = Actor(caller.kind, caller.name, caller.role, caller.address)
    trail.append(session, AuditEvent(actor, Action.CHANGE, object_kind="run", object_id=run.id, detail=detail))
    return view


def verdicts_on(session: Session, vault: IdentifierVault, run_id: str) -> Sequence[VerdictView]:
    """Read all verdicts on a run, the newest first."""
    return [_view(vault, row) for row in _genuine(session, [run_id])]


def standing_verdicts(session: Session, vault: IdentifierVault, run_ids: Collection[str]) -> Mapping[str, VerdictView]:
    """Read the verdict that stands on each of these runs; those without one are left out."""
    oldest_first = reversed(_genuine(session, run_ids))
    standing = {row.run_id: row for row in oldest_first if row.verdict != Verdict.COMMENT}
    return {run_id: _view(vault, row) for run_id, row in standing.items()}


def deciding_verdicts(session: Session, run_id: str) -> Sequence[str]:
    """Read the ids of the verdicts on a run that are no comments, the newest first."""
    return [row.id for row in _genuine(session, [run_id]) if row.verdict != Verdict.COMMENT]


def _genuine(session: Session, run_ids: Collection[str]) -> list[VerdictRow]:
    """Read the rows that the service wrote, the newest first: one that was put there past it is nobody's verdict."""
    # By the time that the seal holds: the row's number is the database's, and whoever writes there can swap two.
    newest_first = VerdictRow.given_at.desc(), VerdictRow.seq.desc()
    query = select(VerdictRow).where(VerdictRow.run_id.in_(run_ids)).order_by(*newest_first)
    return [row for row in session.scalars(query) if is_genuine(session, row)]


def _view(vault: IdentifierVault, row: VerdictRow) -> VerdictView:
    return VerdictView(
        verdict_id=row.id,
        verdict=Verdict(row.verdict),
        why=vault.unseal(row.why, row.id),
        reader=row.reader,
        given_by=row.given_by,
        given_at=moment(row.given_at),
    )
