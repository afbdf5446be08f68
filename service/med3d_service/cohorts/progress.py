"""How far a cohort is: counted in the database each time that it is asked, from an index for each member."""

from collections import defaultdict
from datetime import UTC, datetime

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from med3d_contract.cohorts import (
    CohortProgress,
    MemberCounts,
    ProblemCount,
    ReprocessingStatus,
    StageTime,
)
from med3d_contract.results import RunStatus
from med3d_service.cohorts.night import night_at
from med3d_service.cohorts.tables import CohortMemberRow, CohortRow, ReprocessingRow
from med3d_service.cohorts.views import schedule_of
from med3d_service.runs.bundles import find_bundle
from med3d_service.runs.views import bundle_ref
from med3d_service.storage.copy_states import TO_BE_COPIED
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow, WorkerRow

RATE_OVER_S = 300.0
NEWEST = 50
NAMED = 10
ANSWERED = (RunStatus.COMPLETED, RunStatus.REFUSED, RunStatus.FAILED)
WITHOUT_NUMBER = (RunStatus.REFUSED, RunStatus.FAILED)


def cohort_progress(session: Session, cohort: CohortRow, wanted: str | None, worker_silent_s: float) -> CohortProgress:
    """Count where the members stand with a bundle: ``wanted``, else the one under way or last, else the cohort's.

    Raises ServiceError: unknown_bundle, no_bundle.
    """
    newest = select(ReprocessingRow).where(ReprocessingRow.cohort_id == cohort.id).order_by(ReprocessingRow.seq.desc())
    latest = session.scalars(newest.limit(1)).first()
    name = wanted or (latest.bundle_digest if latest is not None else cohort.bundle)
    bundle = find_bundle(session, name)
    row = session.scalars(newest.where(ReprocessingRow.bundle_digest == bundle.digest).limit(1)).first()
    now = now_of(session)
    counts = _counts(session, cohort.id, bundle.digest)
    rate = _rate(session, cohort.id, bundle.digest, now, row)
    remaining = counts.all - counts.ended
    stages = _stages(session, cohort.id, bundle.digest)
    schedule = schedule_of(cohort)
    runs = row is not None and row.status == ReprocessingStatus.RUNNING
    return CohortProgress(
        cohort=cohort.name,
        bundle=bundle_ref(bundle),
        status=None if row is None else ReprocessingStatus(row.status),
        members=counts,
        rate_per_s=round(rate, 3),
        seconds_left=round(remaining / rate, 1) if runs and remaining and rate else None,
        slowest_stage=max(stages, key=lambda stage: stage.mean_s).stage if stages else None,
        stages=stages,
        problems=_problems(session, cohort.id, bundle.digest),
        workers=_workers(session, bundle, now - worker_silent_s),
        next_night=None if schedule is None else night_at(schedule, datetime.fromtimestamp(now, UTC)).opens_at,
    )


def latest_bundles(session: Session, cohort: CohortRow, most: int = 4) -> tuple[BundleRow, ...]:
    """Return the bundles that a cohort went through, the latest first; its own where it went through none.

    Raises ServiceError: unknown_bundle, no_bundle.
    """
    rows = session.execute(
        select(ReprocessingRow.bundle_digest, func.max(ReprocessingRow.seq))
        .where(ReprocessingRow.cohort_id == cohort.id)
        .group_by(ReprocessingRow.bundle_digest)
        .order_by(func.max(ReprocessingRow.seq).desc())
        .limit(most)
    )
    found = tuple(session.get_one(BundleRow, digest) for digest, _ in rows)
    return found or (find_bundle(session, cohort.bundle),)


def current_runs(cohort_id: str, bundle_digest: str) -> Select[RunRow]:
    """Select the runs that stand for the members of a cohort by a bundle."""
    return (
        select(RunRow)
        .join(CohortMemberRow, CohortMemberRow.study_id == RunRow.study_id)
        .where(
            CohortMemberRow.cohort_id == cohort_id,
            RunRow.bundle_digest == bundle_digest,
            RunRow.chosen_series == "",
            RunRow.superseded_by.is_(None),
        )
    )


def _counts(session: Session, cohort_id: str, bundle_digest: str) -> MemberCounts:
    is_current = and_(
        RunRow.study_id == StudyRow.id,
        RunRow.bundle_digest == bundle_digest,
        RunRow.chosen_series == "",
        RunRow.superseded_by.is_(None),
    )
    found = session.execute(
        select(StudyRow.working_status, RunRow.status, func.count())
        .join(CohortMemberRow, CohortMemberRow.study_id == StudyRow.id)
        .outerjoin(RunRow, is_current)
        .where(CohortMemberRow.cohort_id == cohort_id)
        .group_by(StudyRow.working_status, RunRow.status)
    )
    counts: dict[str, int] = defaultdict(int)
    for copied, status, count in found:
        if status in {None, RunStatus.CANCELLED, RunStatus.QUEUED} and copied in TO_BE_COPIED:
            counts["copying"] += count
        else:
            counts["waiting" if status in {None, RunStatus.CANCELLED} else status] += count
    return MemberCounts.model_validate(counts)


def _rate(session: Session, cohort_id: str, bundle_digest: str, now: float, row: ReprocessingRow | None) -> float:
    since = max(now - RATE_OVER_S, row.created_at if row is not None else 0.0)
    ended = current_runs(cohort_id, bundle_digest).where(RunRow.status.in_(ANSWERED), RunRow.finished_at > since)
    count: int = session.execute(select(func.count()).select_from(ended.subquery())).scalar_one()
    return count / max(now - since, 1.0)


def _stages(session: Session, cohort_id: str, bundle_digest: str) -> tuple[StageTime, ...]:
    newest = (
        current_runs(cohort_id, bundle_digest)
        .with_only_columns(RunRow.provenance)
        .where(RunRow.status == RunStatus.COMPLETED, RunRow.provenance.is_not(None))
        .order_by(RunRow.finished_at.desc())
        .limit(NEWEST)
    )
    seconds: dict[str, list[float]] = defaultdict(list)
    for (provenance,) in session.execute(newest):
        for stage, spent_s in provenance["timings_s"].items():
            seconds[stage].append(spent_s)
    return tuple(StageTime(stage=stage, mean_s=round(sum(s) / len(s), 3)) for stage, s in seconds.items())


def _problems(session: Session, cohort_id: str, bundle_digest: str) -> tuple[ProblemCount, ...]:
    code = func.coalesce(RunRow.refusal["code"].as_string(), RunRow.failure["code"].as_string(), "unknown")
    ended = current_runs(cohort_id, bundle_digest).where(RunRow.status.in_(WITHOUT_NUMBER))
    grouped = session.execute(
        ended.with_only_columns(RunRow.status, code, func.count()).group_by(RunRow.status, code).order_by(None)
    ).all()
    problems = [
        ProblemCount(
            status="failed" if status == RunStatus.FAILED else "refused",
            code=named,
            count=count,
            study_ids=tuple(
                session.scalars(
                    ended.with_only_columns(RunRow.study_id)
                    .where(RunRow.status == status, code == named)
                    .order_by(RunRow.seq)
                    .limit(NAMED)
                )
            ),
        )
        for status, named, count in grouped
    ]
    return tuple(sorted(problems, key=lambda problem: (problem.status, -problem.count, problem.code)))


def _workers(session: Session, bundle: BundleRow, since: float) -> int:
    alive = session.scalars(select(WorkerRow.bundles).where(WorkerRow.seen_at > since))
    return sum(any(carried["digest"] == bundle.digest for carried in bundles) for bundles in alive)
