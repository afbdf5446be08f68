"""The accounts that the database holds with itself. Each is one statement, so that work under way shows in none."""

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from med3d_contract.identity import named_digest, study_digest
from med3d_contract.results import TERMINAL, RunStatus
from med3d_service.cohorts.tables import CohortMemberRow
from med3d_service.custody.ledger.report import LedgerTally
from med3d_service.storage.arrival_tables import AppraisalRow, ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.database import db_now
from med3d_service.storage.tables import AttemptRow, InstanceRow, RunEventRow, RunRow, StudyRow
from med3d_service.studies.arrivals.states import ArrivalStatus

ROWS_AT_ONCE = 1000
WAITING = (RunStatus.QUEUED, RunStatus.PREPROCESSED)
IN_WORK = (RunStatus.PREPROCESSING, RunStatus.PREDICTING)
ANSWERS = {
    RunStatus.COMPLETED: RunRow.result,
    RunStatus.REFUSED: RunRow.refusal,
    RunStatus.FAILED: RunRow.failure,
}


def check_rows(session: Session, tally: LedgerTally, *, patience_s: float, lease_slack_s: float) -> None:
    """Note what the rows do not account for.

    ``patience_s``: how long something may wait; ``lease_slack_s``: how long after its end a lease may go unnoticed.
    """
    before = db_now() - patience_s
    accounts: dict[str, Select[str]] = {
        "study_without_run": _studies_without_run(),
        "late_version_undecided": _undecided(before),
        "run_waits_too_long": select(RunRow.id).where(
            RunRow.status.in_(WAITING), RunRow.held.is_(False), ~_event_since(before)
        ),
        "lease_not_ended": select(RunRow.id).where(
            RunRow.status.in_(IN_WORK),
            or_(RunRow.lease_expires_at.is_(None), RunRow.lease_expires_at < db_now() - lease_slack_s),
        ),
        "lease_without_work": select(RunRow.id).where(
            RunRow.status.not_in(IN_WORK), RunRow.lease_expires_at.is_not(None)
        ),
        "answer_missing": select(RunRow.id).where(
            or_(*(and_(RunRow.status == status, answer.is_(None)) for status, answer in ANSWERS.items()))
        ),
        "events_disagree": _events_disagree(),
        "ended_twice": select(RunEventRow.run_id)
        .where(RunEventRow.status.in_(TERMINAL))
        .group_by(RunEventRow.run_id)
        .having(func.count() > 1),
        "attempt_disagrees": _attempts_disagree(),
        "successor_missing": _successor_missing(),
        "instance_unaccounted": _unaccounted_instances(),
        "instance_count_disagrees": _counts_disagree(),
        "arrival_not_settled": select(ArrivalRow.id).where(
            ArrivalRow.status == ArrivalStatus.RECEIVING, ArrivalRow.last_at < before
        ),
    }
    for code, query in accounts.items():
        tally.add(code, session.scalars(query.execution_options(yield_per=ROWS_AT_ONCE)))
    tally.add("study_digest_disagrees", _other_digest(session))


def _studies_without_run() -> Select[str]:
    """Count those without a run: late versions wait for a verdict, members for their cohort's night.

    Of others a newer version may hold all instances.
    """
    elsewhere, run = aliased(InstanceRow), aliased(RunRow)
    answered = (
        exists()
        .where(elsewhere.digest == InstanceRow.digest, run.study_id == elsewhere.study_id)
        .correlate(InstanceRow)
    )
    unanswered = exists().where(InstanceRow.study_id == StudyRow.id, ~answered)
    holds_any = exists().where(InstanceRow.study_id == StudyRow.id)
    return select(StudyRow.id).where(
        ~exists().where(RunRow.study_id == StudyRow.id),
        ~exists().where(ArrivalRow.late_study_id == StudyRow.id),
        ~exists().where(CohortMemberRow.study_id == StudyRow.id),
        StudyRow.input_removed_at.is_(
            None
        ),  # of a late version: retention goes by the answer that it came too late for
        or_(~holds_any, unanswered),
    )


def _undecided(before: ColumnElement[float]) -> Select[str]:
    return (
        select(ArrivalRow.id)
        .join(AppraisalRow, AppraisalRow.study_id.in_((ArrivalRow.study_id, ArrivalRow.late_study_id)))
        .where(ArrivalRow.late_study_id.is_not(None), ArrivalRow.last_at < before, AppraisalRow.eligible.is_(None))
        .distinct()
    )


def _event_since(before: ColumnElement[float]) -> ColumnElement[bool]:
    return exists().where(RunEventRow.run_id == RunRow.id, RunEventRow.at >= before)


def _events_disagree() -> Select[str]:
    last = select(func.max(RunEventRow.seq)).where(RunEventRow.run_id == RunRow.id).correlate(RunRow).scalar_subquery()
    return (
        select(RunRow.id)
        .outerjoin(RunEventRow, RunEventRow.seq == last)
        .where(or_(RunEventRow.seq.is_(None), RunEventRow.status != RunRow.status))
    )


def _attempts_disagree() -> Select[str]:
    """Return the attempt: in work there is one in hand, the newest; otherwise none."""
    in_hand = and_(AttemptRow.run_id == RunRow.id, AttemptRow.ended_at.is_(None))
    newest = exists().where(in_hand, AttemptRow.number == RunRow.attempt)
    other = exists().where(in_hand, AttemptRow.number != RunRow.attempt)
    in_work = RunRow.status.in_(IN_WORK)
    return select(RunRow.id).where(or_(other, and_(in_work, ~newest), and_(~in_work, newest)))


def _successor_missing() -> Select[str]:
    successor = aliased(RunRow)
    return select(RunRow.id).where(
        RunRow.superseded_by.is_not(None), ~exists().where(successor.id == RunRow.superseded_by)
    )


def _unaccounted_instances() -> Select[str]:
    """Select what a rule wants (the others' rules exclude them), settled, and in no version of the study."""
    used = exists().where(
        InstanceRow.digest == ArrivedInstanceRow.digest,
        InstanceRow.study_id.in_((ArrivalRow.study_id, ArrivalRow.late_study_id)),
    )
    return (
        select(ArrivedInstanceRow.upload_id)
        .join(ArrivalRow, ArrivalRow.id == ArrivedInstanceRow.arrival_id)
        .where(
            ArrivedInstanceRow.rule.is_not(None),
            ArrivalRow.status == ArrivalStatus.SETTLED,
            ArrivedInstanceRow.arrived_at > func.coalesce(ArrivalRow.input_removed_at, 0.0),
            ~used,
        )
    )


def _counts_disagree() -> Select[str]:
    count = (
        select(func.count())
        .where(ArrivedInstanceRow.arrival_id == ArrivalRow.id)
        .correlate(ArrivalRow)
        .scalar_subquery()
    )
    return select(ArrivalRow.id).where(ArrivalRow.instances != count)


def _other_digest(session: Session) -> Iterator[str]:
    """Return studies whose digest, which was taken when they were accepted, is not that of their instances now."""
    query = (
        select(StudyRow.id, StudyRow.digest, InstanceRow.digest.label("instance"), InstanceRow.name)
        .join(InstanceRow, InstanceRow.study_id == StudyRow.id)
        .order_by(InstanceRow.study_id)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    by_study: Callable[..., tuple[str, str]] = attrgetter("id", "digest")
    for (study_id, digest), rows in groupby(session.execute(query), by_study):
        if study_digest(named_digest(row.instance, row.name) for row in rows) != digest:
            yield study_id
