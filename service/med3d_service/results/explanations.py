"""Explanations of runs: read from the store, and asked of a worker where there is none yet."""

import structlog
from pydantic import ValidationError
from sqlalchemy import select

from med3d_contract.explanations import StoredExplanation, explanation_key
from med3d_contract.work import Preprocessed
from med3d_service.problems import ServiceError
from med3d_service.results.reports.facts import read_card
from med3d_service.results.reports.kept import Parts
from med3d_service.results.reports.library import ReportInWorkError, ReportUnavailableError
from med3d_service.runs.fences import find_run
from med3d_service.runs.queueing.dispatch import Broker, BrokerAwayError
from med3d_service.storage.database import Database
from med3d_service.storage.tables import RunRow
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
    """Return the run, if ``caller`` may see it. Raises ServiceError: unknown_run, no_explanation."""
    with database.read() as session:
        run = find_run(session, caller, run_id)
    if not wanted or not can_be_explained(run):
        raise ServiceError("no_explanation")
    return run


def can_be_explained(run: RunRow) -> bool:
    """Tell whether the run has a number, and the tensor that it was made from."""
    has_tensor = run.preprocessed is not None and run.tensor_removed_at is None
    return run.result is not None and has_tensor and Preprocessed.model_validate(run.preprocessed).tensor is not None


def bundle_explains(store: ObjectStore, bundle_digest: str) -> bool:
    """Tell whether a bundle can explain, as a worker has said; one of an older worker, which says nothing, may."""
    card = read_card(store, bundle_digest)
    return card is None or card.explains is not False


def ask_for_explanation(broker: Broker, run_id: str) -> None:
    """Send the task; a worker that finds it done leaves it, and the next reading asks a broker that was away."""
    try:
        broker.send_explanation(run_id)
    except BrokerAwayError as error:
        log.warning("broker_away", kind=str(error))


class ExplanationDesk:
    """Gives the explanations that objects for peers are made of, and has a worker make one that is not there."""

    def __init__(self, parts: Parts, broker: Broker) -> None:
        self._database, self._store, self._broker = parts.database, parts.store, broker
        self._wanted = parts.settings.explanations

    def explained(self, run_id: str) -> StoredExplanation:
        """Read the explanation of a run. Raises ReportUnavailableError, ReportInWorkError."""
        found = read_explanation(self._store, run_id) if self._wanted else None
        if found is not None:
            return found
        with self._database.read() as session:
            run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
        if not (self._wanted and can_be_explained(run) and bundle_explains(self._store, run.bundle_digest)):
            raise ReportUnavailableError("no_explanation")
        ask_for_explanation(self._broker, run_id)
        raise ReportInWorkError
