"""The outbox: from stored answers to deliveries, one per run, kind and destination, each taken by one sender at a time.

The answer's own transaction leaves an outbox row, and nothing else knows where answers go; the deliverer turns it into
deliveries. What is sent has an identity that follows from run and kind, so that sending it twice is harmless.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from med3d_contract.backoff import Backoff
from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import Priority
from med3d_service.problems import ServiceError
from med3d_service.results.delivery.destinations import Destination
from med3d_service.results.delivery.filtering import Answer
from med3d_service.results.delivery.states import DELIVERY_MOVES, TO_BE_SENT, DeliveryStatus
from med3d_service.results.kinds import DICOM_KINDS, EVENTS, HL7_KINDS, STATED_KINDS, Kind, object_uid
from med3d_service.results.reports.lineage import ANSWERED, withdrawn_before
from med3d_service.results.reports.sr_names import sr_uid
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.database import db_now, now_of
from med3d_service.storage.leases import WorkTable, move_rows
from med3d_service.storage.tables import BundleRow, DeliveryRow, IdentifierRow, OutboxRow, RunRow, StudyRow

PLANNED_AT_ONCE = 100
WITHDRAWN, IN_CORRECTION, SUPERSEDED = "identity_corrected", "identity_in_correction", "superseded"
LOOKED_ONCE, LOOK_AGAIN_S = f"{WITHDRAWN}:looked_once", 60.0
"""Nothing was found of what a peer never acknowledged: it may yet store it, and is asked once more."""
FOR_GOOD = frozenset({WITHDRAWN, SUPERSEDED})
"""Hindrances that no time takes away."""


_TABLE = WorkTable(
    DeliveryRow,
    waits=DeliveryRow.status.in_(TO_BE_SENT) & (DeliveryRow.next_try_at <= db_now()),
    in_hand=DeliveryRow.status == DeliveryStatus.SENDING,
    lease_until=DeliveryRow.lease_until,
)


@dataclass(frozen=True)
class Patience:
    """How long a delivery is tried: with the pauses of ``backoff``, until ``give_up_s`` are over."""

    backoff: Backoff
    give_up_s: float
    lease_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make it as the settings say."""
        return cls(
            backoff=Backoff(settings.delivery_first_s, settings.delivery_longest_s),
            give_up_s=settings.delivery_give_up_s,
            lease_s=settings.delivery_lease_s,
        )


def has_answers(session: Session) -> bool:
    """Tell whether there is something to plan, without a lock."""
    return session.scalars(select(OutboxRow.run_id).limit(1)).first() is not None


def plan(session: Session, destinations: Sequence[Destination], patience: Patience) -> int:
    """Turn stored answers into deliveries; how many were planned."""
    waiting = select(OutboxRow).order_by(OutboxRow.answered_at).limit(PLANNED_AT_ONCE).with_for_update(skip_locked=True)
    planned = 0
    for answer in session.scalars(waiting).all():
        run = session.scalars(select(RunRow).where(RunRow.id == answer.run_id)).one()
        if run.withdrawn_at is not None:
            session.delete(answer)
            continue
        cohort, told = run.priority == CELERY_PRIORITY[Priority.COHORT], answer_of(session, run)
        wanted = [one for one in destinations if (one.cohort or not cohort) and one.filter.takes(told)]
        planned += plan_run(session, run, wanted, patience)
        _recall_former(session, run, [one.name for one in destinations if one.takes_back], patience)
        session.delete(answer)
    session.flush()
    return planned


def _recall_former(session: Session, run: RunRow, destinations: Sequence[str], patience: Patience) -> None:
    """Make due once more what went out, or may have, of the runs that ``run`` stands for since a correction.

    Also what the destination never acknowledged: it may hold it all the same.
    """
    former = withdrawn_before(session, run.id) if destinations else []
    if not former:
        return
    rows = session.scalars(
        select(DeliveryRow)
        .where(
            DeliveryRow.run_id.in_(former),
            DeliveryRow.destination.in_(destinations),
            DeliveryRow.kind.in_(DICOM_KINDS),
            DeliveryRow.status.in_((DeliveryStatus.DELIVERED, DeliveryStatus.STORED, DeliveryStatus.DEAD)),
            DeliveryRow.tries > 0,
            or_(DeliveryRow.fault.is_(None), DeliveryRow.fault != WITHDRAWN),
        )
        .with_for_update()
    ).all()
    now = now_of(session)
    for row in rows:
        due = {"ended_at": None, "next_try_at": now, "give_up_at": now + patience.give_up_s}
        _settle(session, row, DeliveryStatus.WAITING, fault=WITHDRAWN, **due)


def answer_of(session: Session, run: RunRow) -> Answer:
    """Return what filters ask of a run's answer."""
    study = session.scalars(select(StudyRow).where(StudyRow.id == run.study_id)).one()
    bundle = session.get_one(BundleRow, run.bundle_digest)
    arrival = session.scalars(select(ArrivalRow).where(ArrivalRow.study_id == study.id)).first()
    rules: tuple[str, ...] = ()
    if arrival is not None:
        matched = select(ArrivedInstanceRow.rule).where(
            ArrivedInstanceRow.arrival_id == arrival.id, ArrivedInstanceRow.rule.is_not(None)
        )
        rules = tuple(rule for rule in session.scalars(matched.distinct()) if rule is not None)
    return Answer(
        decision=run.decision or "refused",
        source="upload" if arrival is None else arrival.source,
        site=study.site,
        rules=rules,
        bundle=f"{bundle.name}@{bundle.version}",
    )


def plan_run(session: Session, run: RunRow, destinations: Sequence[Destination], patience: Patience) -> int:
    """Add what is missing of a run's deliveries; how many were added.

    DICOM objects and HL7 messages only where the study came as DICOM: it names the study and the patient.
    Raises ServiceError("identity_corrected").
    """
    if run.withdrawn_at is not None:
        raise ServiceError("identity_corrected")
    if not destinations:
        return 0
    is_dicom = session.scalars(
        select(IdentifierRow.id).where(IdentifierRow.study_id == run.study_id, IdentifierRow.kind == "study_uid")
    ).first()
    there = select(DeliveryRow.kind, DeliveryRow.destination).where(DeliveryRow.run_id == run.id)
    known = {(kind, destination) for kind, destination in session.execute(there)}
    now = now_of(session)
    wanted = [
        (kind, destination.name)
        for destination in destinations
        for kind in sorted(destination.kinds)
        if is_dicom is not None or kind not in DICOM_KINDS | HL7_KINDS
    ]
    new = [one for one in wanted if one not in known]
    session.add_all(_delivery(session, run.id, kind, name, now, patience) for kind, name in new)
    return len(new)


def _object_uid(session: Session, run_id: str, kind: Kind) -> str:
    return sr_uid(session, run_id) if kind is Kind.SR else object_uid(run_id, kind)


def _delivery(
    session: Session, run_id: str, kind: Kind, destination: str, now: float, patience: Patience
) -> DeliveryRow:
    return DeliveryRow(
        id=str(uuid.uuid5(EVENTS, f"{run_id}/{kind}/{destination}")),
        run_id=run_id,
        kind=kind,
        destination=destination,
        object_uid=_object_uid(session, run_id, kind),
        status=DeliveryStatus.WAITING,
        tries=0,
        created_at=now,
        next_try_at=now,
        give_up_at=now + patience.give_up_s,
    )


def claim(session: Session, destination: str, patience: Patience) -> DeliveryRow | None:
    """Take the delivery to ``destination`` that is due longest, also one whose sender was lost; None where none is."""
    order = (DeliveryRow.next_try_at, DeliveryRow.seq)
    for row in _TABLE.lock_due(session, DeliveryRow.destination == destination, order=order):
        lease_until = db_now() + patience.lease_s
        _settle(session, row, DeliveryStatus.SENDING, lease_until=lease_until, tries=DeliveryRow.tries + 1)
        session.refresh(row)
        return row
    return None


def is_due(session: Session, destination: str) -> bool:
    """Tell whether there is something to claim, without a lock."""
    return _TABLE.has_due(session, DeliveryRow.destination == destination)


def hindrance(session: Session, run_id: str, kind: Kind) -> str | None:
    """Say why nothing of a run may go out now.

    identity_corrected: never again; identity_in_correction: not before the images that are coming have been looked at.
    superseded: a receiver that keeps one answer of a study would be left with the older one.
    """
    run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
    if run.withdrawn_at is not None:
        return WITHDRAWN
    if kind in STATED_KINDS and _has_a_newer_answer(session, run):
        return SUPERSEDED
    comes = (ArrivalRow.study_id == run.study_id) & ArrivalRow.corrected_at.is_not(None)
    return None if session.scalars(select(ArrivalRow.id).where(comes)).first() is None else IN_CORRECTION


def _has_a_newer_answer(session: Session, run: RunRow) -> bool:
    seen = {run.id}
    successor = run.superseded_by
    while successor is not None and successor not in seen:
        seen.add(successor)
        newer = session.scalars(select(RunRow).where(RunRow.id == successor)).one_or_none()
        if newer is None:
            return False
        if newer.status in ANSWERED:
            return True
        successor = newer.superseded_by
    return False


def say_anew(session: Session, run: RunRow, patience: Patience) -> int:
    """Let go again what says how an answer stands, for a person has given a verdict; how many were made due.

    The SR that says so is another object, which names the one before.

    What is being sent now is sent again, too: it may say what was true a moment ago.
    """
    if run.withdrawn_at is not None or _has_a_newer_answer(session, run):
        return 0
    told = DeliveryRow.run_id == run.id, DeliveryRow.kind.in_(STATED_KINDS | {Kind.SR})
    rows = session.scalars(select(DeliveryRow).where(*told).with_for_update()).all()
    now = now_of(session)
    for row in rows:
        again = {"ended_at": None, "next_try_at": now, "lease_until": None, "give_up_at": now + patience.give_up_s}
        uid = _object_uid(session, run.id, Kind(row.kind))
        _settle(session, row, DeliveryStatus.WAITING, object_uid=uid, **again)
    return len(rows)


def delivered(session: Session, taken: DeliveryRow) -> None:
    """Note that the destination has it. What else waits for that destination is due now: it is back."""
    now = now_of(session)
    _settle(session, taken, DeliveryStatus.DELIVERED, ended_at=now, lease_until=None, fault=None)
    session.execute(
        update(DeliveryRow)
        .where(
            DeliveryRow.destination == taken.destination,
            DeliveryRow.status == DeliveryStatus.WAITING,
            DeliveryRow.next_try_at > now,
            DeliveryRow.fault.startswith("peer_"),
        )
        .values(next_try_at=now)
        .execution_options(synchronize_session=False)
    )


def taken_back(session: Session, taken: DeliveryRow) -> None:
    """Note that the destination holds nothing of it under the patient before."""
    now = now_of(session)
    _settle(session, taken, DeliveryStatus.DELIVERED, ended_at=now, lease_until=None, fault=WITHDRAWN)


def was_withdrawn(session: Session, taken: DeliveryRow) -> bool:
    """Tell whether the patient was corrected while it was sent; who withdraws the run now waits for us."""
    run = select(RunRow.withdrawn_at).where(RunRow.id == taken.run_id).with_for_update()
    return session.scalars(run).one() is not None


def stored(session: Session, taken: DeliveryRow, commitment_s: float) -> DeliveryStatus:
    """Note that the destination has it and was asked to keep it: sent again after ``commitment_s`` without a report."""
    now = now_of(session)
    if now >= taken.give_up_at:
        return dead(session, taken, "peer_failed:no_commitment")
    _settle(session, taken, DeliveryStatus.STORED, next_try_at=now + commitment_s, lease_until=None, fault=None)
    return DeliveryStatus.STORED


def postponed(
    session: Session, taken: DeliveryRow, fault: str, patience: Patience, not_before_s: float = 0.0
) -> DeliveryStatus:
    """Note a fault that may pass: again after a pause, as long as the destination asks; dead when its time is over."""
    now = now_of(session)
    if now >= taken.give_up_at:
        return dead(session, taken, fault)
    pause_s = max(patience.backoff.pause_s(taken.tries), not_before_s)
    _settle(session, taken, DeliveryStatus.WAITING, next_try_at=now + pause_s, lease_until=None, fault=fault)
    return DeliveryStatus.WAITING


def dead(session: Session, taken: DeliveryRow, fault: str) -> DeliveryStatus:
    """Note a fault that no repetition mends."""
    now = now_of(session)
    _settle(session, taken, DeliveryStatus.DEAD, ended_at=now, lease_until=None, fault=fault)
    return DeliveryStatus.DEAD


def _settle(session: Session, taken: DeliveryRow, to: DeliveryStatus, **values: Any) -> None:
    """Compare-and-set on status and try: a sender that was thought lost says nothing about the next one's."""
    ours = DeliveryRow.id == taken.id, DeliveryRow.tries == taken.tries
    move_rows(session, DeliveryRow.status, DELIVERY_MOVES, {DeliveryStatus(taken.status)}, to, *ours, **values)


def retry(session: Session, delivery_id: str, patience: Patience) -> DeliveryRow:
    """Let a delivery that is dead, delivered or waiting go (again) at once.

    Raises ServiceError: unknown_delivery, identity_corrected.
    """
    row = session.scalars(select(DeliveryRow).where(DeliveryRow.id == delivery_id).with_for_update()).one_or_none()
    if row is None:
        raise ServiceError("unknown_delivery")
    if hindrance(session, row.run_id, Kind(row.kind)) == WITHDRAWN:
        raise ServiceError(WITHDRAWN)
    if row.status != DeliveryStatus.SENDING:
        now = now_of(session)
        give_up_at = now + patience.give_up_s
        _settle(session, row, DeliveryStatus.WAITING, ended_at=None, next_try_at=now, give_up_at=give_up_at)
        session.refresh(row)
    return row
