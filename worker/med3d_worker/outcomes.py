"""How the end of an attempt reaches the results API, whatever is down meanwhile."""

from collections.abc import Callable
from typing import Protocol

import structlog
from kombu.exceptions import OperationalError

from med3d_contract.client import ApiError, ApiUnavailable, Superseded
from med3d_contract.store import ObjectMissingError
from med3d_contract.work import Completed, Failed, Outcome, Refused, StoredOutcome
from med3d_worker.tensors import Store

log = structlog.get_logger()


class TakesOutcomes(Protocol):
    """The part of WorkerClient that is needed here."""

    def outcome(self, run_id: str, outcome: Outcome) -> None:
        """Raises Superseded, ApiUnavailable or ApiError."""
        ...


def outcome_key(run_id: str, attempt: int) -> str:
    """Where the service looks for results whose message was lost."""
    return f"results/{run_id}/{attempt}.json"


class OutcomeDelivery:
    """Answers are stored first, then published by a task that carries ids: the store keeps what a queue may lose."""

    def __init__(self, api: TakesOutcomes, store: Store, send_publish: Callable[[str, int], None]) -> None:
        self._api = api
        self._store = store
        self._send_publish = send_publish

    def answer(self, run_id: str, outcome: Completed | Refused) -> None:
        """Store an answer and have it published. Raises StoreError when the store does not take it."""
        stored = StoredOutcome(run_id=run_id, outcome=outcome)
        self._store.put(outcome_key(run_id, outcome.attempt), stored.model_dump_json().encode())
        try:
            self._send_publish(run_id, outcome.attempt)
        except OperationalError as error:  # the broker is away; the service adopts stored answers
            log.warning("publish_not_sent", run_id=run_id, attempt=outcome.attempt, error=type(error).__name__)

    def fault(self, run_id: str, outcome: Failed) -> None:
        """Report a fault at once. Should that fail too, the lease runs out, which says the same."""
        log.warning("attempt_failed", run_id=run_id, attempt=outcome.attempt, code=outcome.failure.code)
        try:
            self._api.outcome(run_id, outcome)
        except Superseded:
            log.info("superseded", run_id=run_id, attempt=outcome.attempt)
        except (ApiUnavailable, ApiError) as error:
            log.warning("fault_not_reported", run_id=run_id, attempt=outcome.attempt, because=str(error))


def publish_outcome(api: TakesOutcomes, store: Store, run_id: str, attempt: int) -> None:
    """PUT a stored answer to the results API. A newer attempt, or an answer already adopted, counts as done.

    Raises ApiUnavailable and StoreError: to be tried again.
    """
    try:
        stored = StoredOutcome.model_validate_json(store.get(outcome_key(run_id, attempt)))
        api.outcome(run_id, stored.outcome)
    except (Superseded, ObjectMissingError):
        log.info("already_settled", run_id=run_id, attempt=attempt)
        return
    except ApiError as error:  # asking again would not help; the service adopts what is stored
        log.warning("outcome_refused", run_id=run_id, attempt=attempt, code=error.code, because=str(error))
        return
    log.info("published", run_id=run_id, attempt=attempt, outcome=stored.outcome.outcome)
