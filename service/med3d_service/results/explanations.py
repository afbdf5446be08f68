"""Explanations of runs: read from the store, and asked of a worker where there is none yet."""

import structlog
from pydantic import ValidationError
from sqlalchemy import select

from med3d_contract.explanations import StoredExplanation, explanation_key
from med3d_contract.work import Preprocessed
from med3d_service.problems import ServiceError
from med3d_service.runs.dispatch import Broker, BrokerAwayError
from med3d_service.storage.database import Database
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Caller
from med3d_store.object_store import ObjectMissingError, ObjectStore, StoreError

log = structlog.get_logger()


def read_explanation(store: ObjectStore, run_id: str) -> StoredExplanation | None:
    """Read what a worker has made; None where there is nothing (yet), or nothing that can be read."""
    try:
        return StoredExplanation.model_validate_json(store.get(explanation_key(run_id)))
    except ObjectMissingError:
        return None
    except (StoreError, ValidationError) as error:
        log.warning("explanation_unreadable", run_id=run_id, kind=type(error).__name__)
        return None


def require_explainable(database: Database, caller: Caller, run_id: str, *, wanted: bool) -> RunRow:
    """The run, if ``caller`` may see it. Raises ServiceError: unknown_run, no_explanation."""
    with database.read() as session:
        seen = select(RunRow).join(StudyRow, StudyRow.id == RunRow.study_id)
        run = session.scalars(seen.where(RunRow.id == run_id, caller.sees(StudyRow.site))).first()
    if run is None:
        raise ServiceError("unknown_run")
    if not wanted or not can_be_explained(run):
        raise ServiceError("no_explanation")
    return run


def can_be_explained(run: RunRow) -> bool:
    """Whether the run has a number, and the tensor that it was made from."""
    has_tensor = run.preprocessed is not None and run.tensor_removed_at is None
    return run.result is not None and has_tensor and Preprocessed.model_validate(run.preprocessed).tensor is not None


def ask_for_explanation(broker: Broker, run_id: str) -> None:
    """Send the task; a worker that finds it done leaves it, and the next reading asks a broker that was away."""
    try:
        broker.send_explanation(run_id)
    except BrokerAwayError as error:
        log.warning("broker_away", kind=str(error))
