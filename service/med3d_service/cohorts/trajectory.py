"""One subject over time: every visit's answer by one bundle, and what may be said of the change."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field, ValidationError
from sqlalchemy import Select, and_, select
from sqlalchemy.orm import Session

from med3d_contract.ages import DAYS_PER_YEAR
from med3d_contract.pictures import ReferenceCohort, reference_cohort_key
from med3d_contract.results import BundleRef, Frozen
from med3d_service.cohorts.agreement import NORMAL_95
from med3d_service.cohorts.tables import FiguresRow, ScanFactsRow
from med3d_service.runs.views import analysed_series, bundle_ref, subject_of
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import BundleRow, IdentifierRow, RunRow, StudyRow
from med3d_service.trust.access import Caller
from med3d_store.object_store import ObjectStore, StoreError

SUBJECT_KINDS = ("subject", "patient_id")
COMPARED = {
    "scanner": ("manufacturer", "model"),
    "field strength": ("field_strength_t",),
    "sequence": ("sequence",),
    "processing software": ("preprocessing_digest",),
}
STATED = {"scanner": "scanner", "site": "scan_site"}
"""What a manifest says of scans, NIfTI for the most part, which themselves say nothing of their origin."""
AGES_DISAGREE = "ages disagree with dates"
ROUNDED_YEARS = 1.1
"""Ages in whole years are as far off what lies between two scans, and a birthday more."""
BREAKS = (*(f"{words} changed" for words in dict.fromkeys([*COMPARED, *STATED])), AGES_DISAGREE)
"""Why a line may be broken, in words."""
Scan = tuple[FiguresRow, ScanFactsRow | None]


class Visit(Frozen):
    """One scan. time: see Trajectory.time_basis. breaks: why no line leads here from the scan before.

    acquisition_known: the images say what they were made with; NIfTI does not, so a change cannot be seen.
    """

    study_id: str
    run_id: str
    visit: str | None
    time: float
    age: float | None
    brain_age: float | None
    brain_age_interval: tuple[float, float] | None
    gap: float | None
    sdmt: float | None
    sdmt_interval: tuple[float, float] | None
    sdmt_measured: float | None
    decision: str | None
    code: str | None
    acquisition_known: bool
    breaks: tuple[str, ...]


class ReliableChange(Frozen):
    """From the first to the last scan of an unbroken stretch (Jacobson, Truax, J Consult Clin Psychol 1991;59:12-19).

    least: what test-retest error alone exceeds in 5 % of people, 1.96 x sqrt(2) x within-subject standard deviation.
    """

    measure: Literal["gap", "brain_age", "sdmt"]
    first_study_id: str
    last_study_id: str
    change: float
    least: float
    reliable: bool


class Trajectory(Frozen):
    """All scans of a subject by one bundle, in the order of time.

    time_basis: years of age, years since the first scan (by the study dates), or no more than the order of
    arrival, counted from 1.
    reliable_changes: empty where the bundle does not state its test-retest error.
    """

    subject_id: str
    bundle: BundleRef
    time_basis: Literal["age", "study_date", "order"]
    visits: tuple[Visit, ...]
    reliable_changes: tuple[ReliableChange, ...]
    test_retest_known: bool = Field(description="whether the bundle states its test-retest error")


def subject_studies(caller: Caller, subject_id: str) -> Select[StudyRow]:
    """Select the studies of a subject that ``caller`` sees. ``subject_id`` is a blind index: it names nobody."""
    named = select(IdentifierRow.study_id).where(
        IdentifierRow.kind.in_(SUBJECT_KINDS), IdentifierRow.blind_index == subject_id
    )
    return select(StudyRow).where(StudyRow.id.in_(named), caller.sees(StudyRow.site)).order_by(StudyRow.seq)


def answered_runs(caller: Caller, subject_id: str, bundle_digest: str) -> Select[RunRow]:
    """Select the runs that stand for a subject's studies by a bundle."""
    studies = subject_studies(caller, subject_id).with_only_columns(StudyRow.id).order_by(None)
    return select(RunRow).where(
        RunRow.study_id.in_(studies),
        RunRow.bundle_digest == bundle_digest,
        RunRow.chosen_series == "",
        RunRow.superseded_by.is_(None),
    )


def trajectory(
    session: Session,
    vault: IdentifierVault,
    caller: Caller,
    subject_id: str,
    bundle: BundleRow,
    errors: dict[str, float],
) -> Trajectory:
    """Put a subject's answers in order. ``errors``: within-subject standard deviations by measure, where known.

    The figures must have been drawn (see cohorts.figures).
    """
    current = answered_runs(caller, subject_id, bundle.digest).subquery()
    rows = session.execute(
        select(StudyRow, FiguresRow, ScanFactsRow, current.c.source, current.c.series)
        .join(current, current.c.study_id == StudyRow.id)
        .join(FiguresRow, FiguresRow.run_id == current.c.id)
        .outerjoin(ScanFactsRow, and_(ScanFactsRow.study_id == StudyRow.id))
        .order_by(StudyRow.seq)
    ).all()
    scans = [
        (study, figures, facts, _age(study, analysed_series(source, series)))
        for study, figures, facts, source, series in rows
    ]
    ages, dates = [age for *_, age in scans], _dates(session, vault, [study.id for study, *_ in scans])
    basis, times = _times(ages, dates)
    order = sorted(range(len(scans)), key=lambda place: times[place])
    visits: list[Visit] = []
    for place, before in zip(order, [None, *order], strict=False):
        study, figures, facts, age = scans[place]
        breaks: tuple[str, ...] = ()
        if before is not None:
            breaks = _breaks(scans[before][1:3], (figures, facts))
            if _disagree((ages[before], dates[before]), (age, dates[place])):
                breaks += (AGES_DISAGREE,)
        visits.append(_visit(study, (figures, facts), times[place], age, breaks))
    return Trajectory(
        subject_id=subject_id,
        bundle=bundle_ref(bundle),
        time_basis=basis,
        visits=tuple(visits),
        reliable_changes=tuple(_changes(visits, errors)),
        test_retest_known=bool(errors),
    )


def stated_errors(store: ObjectStore, bundle_digest: str) -> dict[str, float]:
    """Return within-subject standard deviations that the bundle states, as its workers left them in the store."""
    try:
        found = ReferenceCohort.model_validate_json(store.get(reference_cohort_key(bundle_digest)))
    except (StoreError, ValidationError):
        return {}
    return {str(head): sd for head, sd in found.within_subject_sd.items()}


def _times(
    ages: Sequence[float | None], dates: Sequence[datetime | None]
) -> tuple[Literal["age", "study_date", "order"], list[float]]:
    """Return the ages where all are known and none falls while the study dates go on.

    Else years since the first study date: how far apart, and not when.
    """
    known_ages, known = [age for age in ages if age is not None], [date for date in dates if date is not None]
    is_dated = len(known) == len(dates)
    if len(known_ages) == len(ages):
        by_date = [age for _, age in sorted(zip(known, known_ages, strict=True))] if is_dated else sorted(known_ages)
        if by_date == sorted(known_ages):
            return "age", known_ages
    if is_dated:
        return "study_date", [round((date - min(known)).days / DAYS_PER_YEAR, 3) for date in known]
    return "order", [float(place) for place in range(1, len(dates) + 1)]


def _disagree(before: tuple[float | None, datetime | None], after: tuple[float | None, datetime | None]) -> bool:
    """Tell whether one of two ages cannot be right, by the dates of their scans."""
    (age, date), (later_age, later_date) = before, after
    if age is None or date is None or later_age is None or later_date is None:
        return False
    return abs((later_age - age) - (later_date - date).days / DAYS_PER_YEAR) > ROUNDED_YEARS


def _age(study: StudyRow, series_uid: str | None) -> float | None:
    """Return the subject's years at the scan that was analysed."""
    age = subject_of(study, series_uid).age
    return None if age is None else age.years


def _dates(session: Session, vault: IdentifierVault, study_ids: Sequence[str]) -> list[datetime | None]:
    said = vault.read_all(session, list(study_ids), "study_date")
    return [_date(said.get(study_id)) for study_id in study_ids]


def _date(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text or "", "%Y%m%d")  # noqa: DTZ007 - a DICOM DA has no zone
    except ValueError:
        return None


def _visit(study: StudyRow, scan: Scan, time: float, age: float | None, breaks: tuple[str, ...]) -> Visit:
    figures, facts = scan
    return Visit(
        study_id=study.id,
        run_id=figures.run_id,
        visit=None if facts is None else facts.visit,
        time=time,
        age=age,
        brain_age=figures.brain_age,
        brain_age_interval=_interval(figures.brain_age_lower, figures.brain_age_upper),
        gap=None if figures.brain_age is None or age is None else figures.brain_age - age,
        sdmt=figures.sdmt,
        sdmt_interval=_interval(figures.sdmt_lower, figures.sdmt_upper),
        sdmt_measured=None if facts is None else facts.sdmt,
        decision=figures.decision,
        code=figures.code,
        acquisition_known=figures.manufacturer is not None,
        breaks=breaks,
    )


def _interval(lower: float | None, upper: float | None) -> tuple[float, float] | None:
    return None if lower is None or upper is None else (lower, upper)


def _breaks(before: Scan, after: Scan) -> tuple[str, ...]:
    measured = [
        words
        for words, names in COMPARED.items()
        if any(getattr(before[0], name) != getattr(after[0], name) for name in names)
    ]
    stated = [
        words
        for words, name in STATED.items()
        if _differ(getattr(before[1], name, None), getattr(after[1], name, None))
    ]
    return tuple(f"{words} changed" for words in dict.fromkeys([*measured, *stated]))


def _differ(before: str | None, after: str | None) -> bool:
    """Tell whether both are stated, and not the same."""
    return before is not None and after is not None and before != after


def stretches(visits: Sequence[Visit]) -> list[list[Visit]]:
    """Return visits with a number, in stretches without a break; a visit without one breaks nothing."""
    found: list[list[Visit]] = []
    broken = True
    for visit in visits:
        broken = broken or bool(visit.breaks)
        if visit.brain_age is None:
            continue
        if broken:
            found.append([])
        found[-1].append(visit)
        broken = False
    return found


def _changes(visits: Sequence[Visit], errors: dict[str, float]) -> list[ReliableChange]:
    """Measure it of the gap where ages are known, for a brain is expected to age a year in a year.

    Else of brain age.
    """
    changes: list[ReliableChange] = []
    for stretch in stretches(visits):
        first, last = stretch[0], stretch[-1]
        if first is last:
            continue
        brain: Literal["gap", "brain_age"] = "gap" if None not in {first.gap, last.gap} else "brain_age"
        pairs: tuple[tuple[Literal["gap", "brain_age", "sdmt"], str], ...] = ((brain, "brain_age"), ("sdmt", "sdmt"))
        for measure, error in pairs:
            before, after = getattr(first, measure), getattr(last, measure)
            if error not in errors or before is None or after is None:
                continue
            least = NORMAL_95 * math.sqrt(2) * errors[error]
            change = after - before
            changes.append(
                ReliableChange(
                    measure=measure,
                    first_study_id=first.study_id,
                    last_study_id=last.study_id,
                    change=change,
                    least=least,
                    reliable=abs(change) > least,
                )
            )
    return changes
