"""An answered run with what it was made from, for `med3d replay`."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.calibrations import CalibrationFile
from med3d_contract.replay import StoredRun
from med3d_contract.work import PreprocessedObject
from med3d_service.cohorts.subjects import subjects_of
from med3d_service.problems import ServiceError
from med3d_service.runs.calibrations import stored_calibration
from med3d_service.runs.moves import ANSWERS
from med3d_service.runs.views import bundle_ref
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow


def stored_run(session: Session, run_id: str) -> StoredRun:
    """Read it. Raises ServiceError: unknown_run, not_answered (also where no working copy is left)."""
    run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one_or_none()
    if run is None:
        raise ServiceError("unknown_run")
    study = session.scalars(select(StudyRow).where(StudyRow.id == run.study_id)).one()
    if run.status not in ANSWERS or study.working_key is None or study.working_sha256 is None:
        raise ServiceError("not_answered")
    return StoredRun.model_validate(
        {
            "run_id": run.id,
            "status": run.status,
            "bundle": bundle_ref(session.get_one(BundleRow, run.bundle_digest)),
            "working_copy": PreprocessedObject(key=study.working_key, sha256=study.working_sha256),
            "chosen_series": run.chosen_series or None,
            "subject": subjects_of(session, [run], {study.id: study})[run.id],
            "tensor": None if run.preprocessed is None else run.preprocessed["tensor"],
            "result": run.result,
            "refusal": run.refusal,
            "provenance": run.provenance,
            "calibration": None if run.result is None else _calibration(session, run.result, study),
        }
    )


def _calibration(session: Session, result: dict[str, Any], study: StudyRow) -> CalibrationFile | None:
    digest = (result.get("assessment") or {}).get("calibration_digest")
    return None if digest is None else stored_calibration(session, digest, study.site)
