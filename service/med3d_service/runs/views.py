"""How runs are shown: a row of the database as the results API's words."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from med3d_contract.ages import settle_age, stated_age, stored_age
from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import BundleRef, Priority, RunStatus, RunView, Sex, VerdictView
from med3d_contract.work import Subject
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow

PRIORITIES = {rank: priority for priority, rank in CELERY_PRIORITY.items()}


def moment(seconds: float) -> datetime:
    """Return seconds since 1970 as a UTC time."""
    return datetime.fromtimestamp(seconds, UTC)


def priority_of(run: RunRow) -> Priority:
    """Translate the queue's number back."""
    return PRIORITIES[run.priority]


def bundle_ref(bundle: BundleRow) -> BundleRef:
    """Return name, version and digest."""
    return BundleRef(name=bundle.name, version=bundle.version, digest=bundle.digest)


def run_view(run: RunRow, bundle: BundleRow, verdict: VerdictView | None = None) -> RunView:
    """Show a run. ``attempt`` counts from 1 what people call tries: a stage that just follows is none."""
    return RunView.model_validate(
        {
            "run_id": run.id,
            "study_id": run.study_id,
            "status": RunStatus(run.status),
            "stage": run.stage,
            "attempt": run.retries + 1 if run.attempt else 0,
            "priority": priority_of(run),
            "created_at": moment(run.created_at),
            "started_at": None if run.started_at is None else moment(run.started_at),
            "finished_at": None if run.finished_at is None else moment(run.finished_at),
            "bundle": bundle_ref(bundle),
            "refusal": run.refusal,
            "failure": run.failure,
            "series": run.series,
            "quality": run.quality,
            "provenance": run.provenance,
            "result": run.result,
            "verdict": verdict,
        }
    )


def subject_of(study: StudyRow, series_uid: str | None = None) -> Subject:
    """Return age and sex of a study: what the sender stated goes before what was found in the images.

    ``series_uid``: stand-in of the analysed series, whose own age is taken, for a study may hold several examinations.
    Without it, or where ages were not kept by series, it is the age on which all images agree. A volume has none of the
    DICOM beside it.
    """
    sex = study.stated_sex or study.found_sex
    by_series = study.series_ages or {}
    overall = None if series_uid == A_VOLUME and by_series else study.found_age
    found = settle_age(stated_age(study.stated_age), stored_age(by_series.get(series_uid or "", overall)))
    return Subject(age=found.age, age_doubt=found.doubt, sex=Sex(sex) if sex else None)


A_VOLUME = ""
"""In place of a series' UID: a NIfTI or MGH volume was analysed, and what DICOM beside it tells is not of it."""


def analysed_series(source: Mapping[str, Any] | None, series: Mapping[str, Any] | None) -> str | None:
    """Return the stand-in UID of the series that a run's preprocessing read, A_VOLUME for a volume; None before.

    ``source``, ``series``: what the run keeps of the instances that were read, and of the series that were looked at.
    """
    if source:
        uid: str = source["series_uid"]
        return uid
    return A_VOLUME if series and series.get("chosen") else None
