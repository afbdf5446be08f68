"""Volumes of a run's head: read from the store, and asked of a worker where there are none yet."""

import structlog
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import SeriesReport
from med3d_contract.volumes import StoredVolumes, volumes_key
from med3d_contract.work import PreprocessedObject, VolumesRequest
from med3d_service.problems import ServiceError
from med3d_service.runs.fences import find_run
from med3d_service.runs.moves import ANSWERS
from med3d_service.runs.queueing.dispatch import Broker, BrokerAwayError
from med3d_service.storage.database import Database
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Caller
from med3d_store.object_store import ObjectMissingError, ObjectStore, StoreError

log = structlog.get_logger()


def read_volumes(store: ObjectStore, run_id: str, *, deface: bool = False) -> StoredVolumes | None:
    """Read what a worker has made; None where there is nothing (yet), or nothing that can be read.

    deface: what was made with the face is as good as nothing.
    """
    try:
        found = StoredVolumes.model_validate_json(store.get(volumes_key(run_id)))
    except ObjectMissingError:
        return None
    except (StoreError, ValidationError) as error:
        log.warning("volumes_unreadable", run_id=run_id, kind=type(error).__name__)
        return None
    return found if found.defaced or not deface else None


def require_viewable(database: Database, caller: Caller, run_id: str) -> None:
    """Let a caller pass who may see the run and its head. Raises ServiceError: unknown_run, no_volumes."""
    with database.read() as session:
        if volumes_request(session, find_run(session, caller, run_id)) is None:
            raise ServiceError("no_volumes")


def volumes_request(session: Session, run: RunRow) -> VolumesRequest | None:
    """Say what a worker needs; None where no series was analysed, or the images are not there any more."""
    series = None if run.series is None else SeriesReport.model_validate(run.series).chosen
    copy = session.execute(
        select(StudyRow.working_key, StudyRow.working_sha256).where(StudyRow.id == run.study_id)
    ).one()
    if run.status not in ANSWERS or series is None or copy.working_key is None or copy.working_sha256 is None:
        return None
    has_tensor = run.preprocessed is not None and run.tensor_removed_at is None
    return VolumesRequest.model_validate(
        {
            "bundle_digest": run.bundle_digest,
            "working_copy": PreprocessedObject(key=copy.working_key, sha256=copy.working_sha256),
            "series": series,
            "tensor": run.preprocessed["tensor"] if has_tensor and run.preprocessed else None,
        }
    )


def ask_for_volumes(broker: Broker, run_id: str) -> None:
    """Send the task; a worker that finds it done leaves it, and the next reading asks a broker that was away."""
    try:
        broker.send_volumes(run_id)
    except BrokerAwayError as error:
        log.warning("broker_away", kind=str(error))
