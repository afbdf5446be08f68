"""How the end of an attempt reaches the results API, whatever is down meanwhile."""

from collections.abc import Callable, Mapping
from typing import Protocol

import structlog
from kombu.exceptions import OperationalError

from med3d_client.worker import ApiError, ApiUnavailable, Superseded
from med3d_contract.work import Completed, Failed, Outcome, Refused, RunOutcome, StoredOutcomes
from med3d_store.object_store import ObjectMissingError
from med3d_worker.heads.tensors import Store

log = structlog.get_logger()


class TakesOutcomes(Protocol):
    """The part of WorkerClient that is needed here."""

    def outcome(self, run_id: str, outcome: Outcome) -> None:
        """End one attempt. Raises Superseded, ApiUnavailable or ApiError."""
        ...

    def outcomes(self, ended: StoredOutcomes) -> frozenset[str]:
        """End several; those that were over. Raises ApiUnavailable or ApiError."""
        ...


class SettlesObjects(Protocol):
    """The part of ObjectStore that publishing needs."""

    def get(self, key: str, sha256: str | None = None) -> bytes:
        """Return the object; raises StoreError."""
        ...

    def delete(self, key: str) -> None:
        """Remove it; one that is not there is no error."""
        ...


def outcome_key(run_id: str, attempt: int) -> str:
    """Tell where the service looks for results whose message was lost."""
    return f"results/{run_id}.{attempt}.json"


class OutcomeDelivery:
    """Answers are stored first, then published by a task that carries ids: the store keeps what a queue may lose."""

    def __init__(self, api: TakesOutcomes, store: Store, send_publish: Callable[[str, int], None]) -> None:
        self._api = api
        self._store = store
        self._send_publish = send_publish

    def answer(self, answers: Mapping[str, Completed | Refused]) -> None:
        """Store answers by run and have them published. Raises StoreError when the store does not take them.

        They lie in one object, named by the first: the disk's promise is what takes the time.
        """
        if not answers:
            return
        stored = StoredOutcomes(
            outcomes=tuple(RunOutcome(run_id=run, outcome=answer) for run, answer in answers.items())
        )
        run_id, attempt = stored.outcomes[0].run_id, stored.outcomes[0].outcome.attempt
        self._store.put(outcome_key(run_id, attempt), stored.model_dump_json().encode())
        try:
            self._send_publish(run_id, attempt)
        except OperationalError as error:  # the broker is away; the service adopts stored answers
            log.warning("publish_not_sent", run_id=run_id, attempt=attempt, error=type(error).__name__)

    def fault(self, run_id: str, outcome: Failed) -> None:
        """Report a fault at once. Should that fail too, the lease runs out, which says the same."""
        log.warning("attempt_failed", run_id=run_id, attempt=outcome.attempt, code=outcome.failure.code)
        try:
            self._api.outcome(run_id, outcome)
        except Superseded:
            log.info("superseded", run_id=run_id, attempt=outcome.attempt)
        except (ApiUnavailable, ApiError) as error:
            log.warning("fault_not_reported", run_id=run_id, attempt=outcome.attempt, because=str(error))


def publish_outcomes(api: TakesOutcomes, store: SettlesObjects, run_id: str, attempt: int) -> None:
    """PUT stored answers to the results API, then remove them. Those of an older attempt count as done.

    Raises ApiUnavailable and StoreError: to be tried again.
    """
    key = outcome_key(run_id, attempt)
    try:
        stored = StoredOutcomes.model_validate_json(store.get(key))
    except ObjectMissingError:
        log.info("already_settled", run_id=run_id, attempt=attempt)
        return
    try:
        over = api.outcomes(stored)
    except ApiError as error:  # asking again would not help; the service adopts what is stored
        log.warning("outcome_refused", run_id=run_id, attempt=attempt, code=error.code, because=str(error))
        return
    store.delete(key)
    for one in stored.outcomes:
        event = "already_settled" if one.run_id in over else "published"
        log.info(event, run_id=one.run_id, attempt=one.outcome.attempt, outcome=one.outcome.outcome)
