"""The worklist: runs by what became of them, newest first, with what a person wants to know of each at a glance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Select, and_, false, func, select
from sqlalchemy.orm import Session

from med3d_contract.results import RunStatus, RunView, Verdict
from med3d_contract.work import Subject
from med3d_service.runs.moves import ANSWERS
from med3d_service.runs.verdicts import standing_verdicts
from med3d_service.runs.views import analysed_series, run_view, subject_of
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow, VerdictRow
from med3d_service.trust.access import Caller


class Shown(StrEnum):
    """What became of a run, as a worklist tells them apart."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    REVIEW = "review"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNDER_WAY = (RunStatus.QUEUED, RunStatus.PREPROCESSING, RunStatus.PREPROCESSED, RunStatus.PREDICTING)


@dataclass(frozen=True)
class WorklistFilter:
    """Which runs are wanted. Times are seconds since 1970; ``only``: ids of studies, or of runs, that were sought.

    unjudged: only those on which no verdict stands. answered: only those with an answer, a number or a refusal.
    ``studies`` is a query of studies' ids, ``bundle`` a digest.
    """

    shown: Shown | None = None
    since: float | None = None
    until: float | None = None
    sender: str | None = None
    superseded: bool = False
    unjudged: bool = False
    only: frozenset[str] | None = None
    answered: bool = False
    studies: Select[str] | None = None
    bundle: str | None = None


@dataclass(frozen=True)
class ListedRun:
    """A run with its study, as a list shows it. ``sender``: who sent its first images; empty where it was uploaded."""

    seq: int
    run: RunView
    subject: Subject
    sender: str
    superseded_by: str | None
    chosen_series: str
    site: str
    has_pictures: bool = False

    @property
    def shown(self) -> Shown:
        """What became of the run."""
        return shown_of(self.run)

    @property
    def may_run_again(self) -> bool:
        """Whether a new run may be begun in this one's place."""
        return self.superseded_by is None and self.shown in {Shown.FAILED, Shown.CANCELLED}

    @property
    def may_be_changed(self) -> bool:
        """Whether the run can be done again, or hurried and taken back."""
        return self.may_run_again or self.shown is Shown.WAITING


def shown_of(run: RunView) -> Shown:
    """Tell what became of a run."""
    if run.result is not None:
        return Shown(run.result.assessment.decision)
    return Shown(run.status) if run.status.is_terminal else Shown.WAITING


def list_runs(
    session: Session, vault: IdentifierVault, caller: Caller, wanted: WorklistFilter, *, before: int | None, limit: int
) -> list[ListedRun]:
    """List the runs that ``caller`` may see and that are wanted, newest first, from below ``before`` (a seq)."""
    query = _seen(caller).where(*_conditions(wanted))
    if before is not None:
        query = query.where(RunRow.seq < before)
    found = session.execute(query.order_by(RunRow.seq.desc()).limit(limit)).all()
    return _listed(session, vault, [(run, bundle) for run, bundle in found])


def count_runs(session: Session, caller: Caller, wanted: WorklistFilter, *, most: int) -> int:
    """Count the runs that ``list_runs`` would list, as far as ``most``."""
    some = _seen(caller).where(*_conditions(wanted)).with_only_columns(RunRow.seq).limit(most).subquery()
    return session.execute(select(func.count()).select_from(some)).scalar_one()


def listed_run(session: Session, vault: IdentifierVault, caller: Caller, run_id: str) -> ListedRun | None:
    """Find one run that ``caller`` may see."""
    found = session.execute(_seen(caller).where(RunRow.id == run_id)).all()
    listed = _listed(session, vault, [(run, bundle) for run, bundle in found])
    return listed[0] if listed else None


def _seen(caller: Caller) -> Select[RunRow, BundleRow]:
    # A condition and no join: SQLite plans without the limit, and would sort all runs of a site to give fifty of them.
    seen = select(StudyRow.id).where(StudyRow.id == RunRow.study_id, caller.sees(StudyRow.site)).exists()
    return select(RunRow, BundleRow).join(BundleRow, BundleRow.digest == RunRow.bundle_digest).where(seen)


def _conditions(wanted: WorklistFilter) -> list[ColumnElement[bool]]:
    found = _of_kind(wanted)
    if wanted.since is not None:
        found.append(RunRow.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(RunRow.created_at < wanted.until)
    if not wanted.superseded:
        found.append(RunRow.superseded_by.is_(None))
    if wanted.sender is not None:
        of_sender = and_(
            ArrivalRow.study_id == RunRow.study_id, ArrivalRow.sender.startswith(wanted.sender, autoescape=True)
        )
        found.append(select(ArrivalRow.id).where(of_sender).exists())
    if wanted.only is not None:
        found.append(RunRow.study_id.in_(wanted.only) | RunRow.id.in_(wanted.only) if wanted.only else false())
    return found


def _of_kind(wanted: WorklistFilter) -> list[ColumnElement[bool]]:
    """Say what of a run itself is wanted: what became of it, by which bundle, and what people made of it."""
    found: list[ColumnElement[bool]] = []
    if wanted.shown in {Shown.ACCEPTED, Shown.REVIEW}:
        found.append(RunRow.decision == wanted.shown)
    elif wanted.shown is Shown.WAITING:
        found.append(RunRow.status.in_(UNDER_WAY))
    elif wanted.shown is not None:
        found.append(RunRow.status == wanted.shown)
    if wanted.answered:
        found.append(RunRow.status.in_(ANSWERS))
    if wanted.studies is not None:
        found.append(RunRow.study_id.in_(wanted.studies))
    if wanted.bundle is not None:
        found.append(RunRow.bundle_digest == wanted.bundle)
    if wanted.unjudged:
        decided = select(VerdictRow.seq).where(VerdictRow.run_id == RunRow.id, VerdictRow.verdict != Verdict.COMMENT)
        found.append(~decided.exists())
    return found


def _listed(session: Session, vault: IdentifierVault, rows: Sequence[tuple[RunRow, BundleRow]]) -> list[ListedRun]:
    ids = {run.study_id for run, _ in rows}
    studies = {study.id: study for study in session.scalars(select(StudyRow).where(StudyRow.id.in_(ids)))}
    senders = senders_of(session, ids)
    standing = standing_verdicts(session, vault, [run.id for run, _ in rows])
    return [
        ListedRun(
            seq=run.seq,
            run=run_view(run, bundle, standing.get(run.id)),
            subject=subject_of(studies[run.study_id], analysed_series(run.source, run.series)),
            sender=senders.get(run.study_id, ""),
            superseded_by=run.superseded_by,
            chosen_series=run.chosen_series,
            site=studies[run.study_id].site,
            has_pictures=has_pictures(run),
        )
        for run, bundle in rows
    ]


def has_pictures(run: RunRow) -> bool:
    """Tell whether slices through the brain can be shown."""
    return run.pictures is not None and run.tensor_removed_at is None


def senders_of(session: Session, study_ids: set[str]) -> Mapping[str, str]:
    """Tell who sent the first images of each study that arrived from a scanner or an archive."""
    query = select(ArrivalRow.study_id, ArrivalRow.sender).where(ArrivalRow.study_id.in_(study_ids))
    return {study_id: sender for study_id, sender in session.execute(query) if study_id is not None}
